"""Postgres over Neon from a Lambda function: one connection, one round trip a unit of work.

This package knows Postgres and Lambda. It knows nothing of tasks and nothing of HTTP.
"""

from neon._address import direct_conninfo, direct_url
from neon._connection import Row
from neon._database import Database
from neon._deadline import deadline
from neon._errors import (
    ConfigurationError,
    ConflictError,
    DatabaseError,
    OutcomeUnknownError,
    StatementError,
    TimedOutError,
    UnavailableError,
)
from neon._secret import url_from_environment
from neon._statement import Effect, Statement
from neon._telemetry import Telemetry
from neon._transaction import Transaction

__all__ = [
    "ConfigurationError",
    "ConflictError",
    "Database",
    "DatabaseError",
    "Effect",
    "OutcomeUnknownError",
    "Row",
    "Statement",
    "StatementError",
    "Telemetry",
    "TimedOutError",
    "Transaction",
    "UnavailableError",
    "deadline",
    "direct_conninfo",
    "direct_url",
    "url_from_environment",
]
