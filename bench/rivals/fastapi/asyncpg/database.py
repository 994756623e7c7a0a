"""One engine for the life of the execution environment, which serves one request at a time."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from functools import wraps
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

from fastapi import Depends
from serving import User
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession


def _dsn(url: str) -> str:
    """Drop the parameter of libpq's connection string that asyncpg does not know."""
    parts = urlsplit(url)
    known = [pair for pair in parse_qsl(parts.query) if pair[0] != "channel_binding"]
    return parts._replace(query=urlencode(known)).geturl()


# Mangum takes the thread's loop for every request, and a connection belongs to one loop.
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)

# Ping and replacement are as on psycopg2. The names of statements are those that SQLAlchemy advises
# for PgBouncer, which tracks prepared statements since 1.21: so SQLAlchemy's cache of them stays
# on, and only asyncpg's own, which numbers them, is off.
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


async def get_session(user_id: User) -> AsyncIterator[AsyncSession]:
    """Open a session that sees only the caller's rows."""
    async with AsyncSession(engine, expire_on_commit=False, info={"user_id": user_id}) as session:
        yield session


Db = Annotated[AsyncSession, Depends(get_session)]


def route(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a coroutine of the function, as SQLAlchemy does with each method of an AsyncSession."""

    @wraps(function)
    async def on_the_loop(db: AsyncSession, **arguments: Any) -> Any:
        return await db.run_sync(function, **arguments)

    return on_the_loop


async def _warm() -> None:
    await (await engine.connect()).close()


# INIT has a full processor.
loop.run_until_complete(_warm())
