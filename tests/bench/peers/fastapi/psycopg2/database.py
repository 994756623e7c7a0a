"""One engine for the life of the execution environment, which serves one request at a time."""

import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends
from identity import User
from sqlalchemy import Connection, event, make_url, text
from sqlmodel import Session, create_engine

# A ping before each use because connections die while the environment is frozen, and a new one
# before Neon suspends the compute or a load balancer forgets the flow (300 and 350 seconds).
engine = create_engine(
    make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg2"),
    pool_size=1,
    max_overflow=0,
    pool_pre_ping=True,
    pool_recycle=240,
    use_native_hstore=False,  # it would cost a query at each connect
)

_ACT_AS = text(
    "SELECT set_config('role', 'task_api', true), set_config('app.user_id', :user_id, true)"
)


@event.listens_for(Session, "after_begin")
def _act_as_the_user(session: Session, _: Any, connection: Connection) -> None:
    """Row-level security: with the first statement, so that a refused request sends none."""
    connection.execute(_ACT_AS, {"user_id": session.info["user_id"]})


async def get_session(user_id: User) -> AsyncIterator[Session]:
    """A session in which only the caller's rows are there."""
    with Session(engine, expire_on_commit=False, info={"user_id": user_id}) as session:
        yield session


Db = Annotated[Session, Depends(get_session)]

# In Lambda's INIT the processor is at its fastest.
engine.connect().close()
