"""One engine for the life of the execution environment, which serves one request at a time."""

import os
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends
from serving import User
from sqlalchemy import make_url
from sqlmodel import Session, create_engine

# It pings before each use because connections die while the environment is frozen. It replaces a
# connection before Neon suspends the compute or a load balancer drops it (300 and 350 seconds).
engine = create_engine(
    make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg2"),
    pool_size=1,
    max_overflow=0,
    pool_pre_ping=True,
    pool_recycle=240,
    use_native_hstore=False,  # it would cost a query at each connect
)


def get_session(user_id: User) -> Iterator[Session]:
    """Open a session that sees only the caller's rows."""
    with Session(engine, expire_on_commit=False, info={"user_id": user_id}) as session:
        yield session


Db = Annotated[Session, Depends(get_session)]


# INIT has a full processor.
engine.connect().close()
