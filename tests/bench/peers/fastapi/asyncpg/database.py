"""One engine for the life of the execution environment, which serves one request at a time."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

from fastapi import Depends
from identity import User
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import Session
from sqlmodel.ext.asyncio.session import AsyncSession


def _dsn(url: str) -> str:
    """libpq's connection string as asyncpg reads it: it cannot bind channels."""
    parts = urlsplit(url)
    known = [pair for pair in parse_qsl(parts.query) if pair[0] != "channel_binding"]
    return parts._replace(query=urlencode(known)).geturl()


# Mangum takes the thread's loop for every request, and a connection belongs to one loop.
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)

# A ping before each use because connections die while the environment is frozen, and a new one
# before Neon suspends the compute or a load balancer forgets the flow (300 and 350 seconds).
# Names as SQLAlchemy advises for PgBouncer, which keeps account of prepared statements from 1.21
# on: so SQLAlchemy's cache of them stays on, and only asyncpg's own, which numbers them, is off.
engine = create_async_engine(
    "postgresql+asyncpg://",
    pool_size=1,
    max_overflow=0,
    pool_pre_ping=True,
    pool_recycle=240,
    connect_args={
        "dsn": _dsn(os.environ["DATABASE_URL"]),
        "statement_cache_size": 0,
        "prepared_statement_name_func": lambda: f"__asyncpg_{uuid4()}__",
    },
)

_ACT_AS = text(
    "SELECT set_config('role', 'task_api', true), set_config('app.user_id', :user_id, true)"
)


@event.listens_for(Session, "after_begin")
def _act_as_the_user(session: Session, _: Any, connection: Connection) -> None:
    """Row-level security: with the first statement, so that a refused request sends none."""
    connection.execute(_ACT_AS, {"user_id": session.info["user_id"]})


async def get_session(user_id: User) -> AsyncIterator[AsyncSession]:
    """A session in which only the caller's rows are there."""
    async with AsyncSession(engine, expire_on_commit=False, info={"user_id": user_id}) as session:
        yield session


Db = Annotated[AsyncSession, Depends(get_session)]


async def _warm() -> None:
    await (await engine.connect()).close()


# In Lambda's INIT the processor is at its fastest.
loop.run_until_complete(_warm())
