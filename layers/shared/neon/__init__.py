"""Postgres over Neon from a Lambda function: one connection, one round trip for a unit of work.

This package knows Postgres and Lambda. It knows nothing of tasks and nothing of HTTP.
"""

from neon._address import direct_conninfo, url_from_environment
from neon._connection import Row
from neon._conninfo import format_url, parse_conninfo
from neon._database import Database
from neon._deadline import deadline
from neon._direct import direct_connection, direct_transaction
from neon._errors import (
    ConfigurationError,
    ConflictError,
    DatabaseError,
    OutcomeUnknownError,
    ResultError,
    StatementError,
    TimedOutError,
    UnavailableError,
)
from neon._statement import Effect, Statement
from neon._telemetry import Telemetry

__all__ = [
    "ConfigurationError",
    "ConflictError",
    "Database",
    "DatabaseError",
    "Effect",
    "OutcomeUnknownError",
    "ResultError",
    "Row",
    "Statement",
    "StatementError",
    "Telemetry",
    "TimedOutError",
    "UnavailableError",
    "deadline",
    "direct_connection",
    "direct_conninfo",
    "direct_transaction",
    "format_url",
    "parse_conninfo",
    "url_from_environment",
]
