"""The errors, each with the one sentence that the user reads.

LocalError             cannot go on: a sentence on stderr, exit status 1
InvocationError        a function did not answer
├── FunctionError      it raised, or its answer was too large; carries Lambda's error document
├── CrashedError       its process ended, while it started or while it worked
├── TimedOutError      it was ended because it took longer than the template allows
└── ThrottledError     all of its environments stayed busy, or it outlasts the gateway
"""

from __future__ import annotations

from typing import Any

from deploy.template import TemplateError


class LocalError(Exception):
    """The local API cannot start or go on; `str()` is one clear sentence."""


# `sentence` of each is for the user.
SENTENCES = (LocalError, TemplateError, OSError)


def sentence(error: Exception) -> str:
    """Return the one sentence that the user reads."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} cannot be used: {error.strerror}."
    return str(error)


class InvocationError(Exception):
    """A function did not answer; `str()` says why in one sentence."""

    traceback = ""

    def document(self) -> dict[str, Any]:
        """Return the error document of Lambda's Invoke API."""
        return {"errorType": type(self).__name__, "errorMessage": str(self)}


class FunctionError(InvocationError):
    """The function itself reported an error: while it was imported, or in its handler.

    `traceback` has the files and lines that led to it, as far as the function said so.
    """

    def __init__(self, function: str, error: dict[str, Any]) -> None:
        super().__init__(f"{function}: {error.get('errorType')}: {error.get('errorMessage')}")
        frames = map(str, error.get("stackTrace") or ())
        self.traceback = "".join(frame for frame in frames if "importlib" not in frame).rstrip()
        self._error = error

    def document(self) -> dict[str, Any]:
        """Return the error as the function reported it, with its stack trace."""
        return self._error


class CrashedError(InvocationError):
    """The function's process ended without an answer."""


class TimedOutError(InvocationError):
    """The function took longer than its time-out and its process was ended."""


class ThrottledError(InvocationError):
    """No environment became free in time, or the gateway waits no longer for the answer."""
