"""Postgres over Neon from a Lambda function: one connection, one round trip a unit of work.

This package knows Postgres and Lambda. It knows nothing of tasks and nothing of HTTP.
"""

from neon._database import Database, Effect, Row, Statement, deadline
from neon._errors import Conflict, DatabaseError, Misconfigured, OutcomeUnknown, Unavailable

__all__ = [
    "Conflict",
    "Database",
    "DatabaseError",
    "Effect",
    "Misconfigured",
    "OutcomeUnknown",
    "Row",
    "Statement",
    "Unavailable",
    "deadline",
]
