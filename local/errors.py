"""What can go wrong, each with the one sentence that the user reads.

LocalError             cannot go on: a sentence on stderr, exit status 1
InvocationFailed       a function did not answer
├── FunctionError      it raised, or its answer was too large; carries Lambda's error document
├── Crashed            its process ended, while it started or while it worked
├── TimedOut           it was ended because it took longer than the template allows
└── Throttled          all of its environments stayed busy
"""

from __future__ import annotations

from typing import Any


class LocalError(Exception):
    """The local API cannot start or go on; `str()` is one clear sentence."""


class InvocationFailed(Exception):
    """A function did not answer; `str()` says why in one sentence."""

    def document(self) -> dict[str, Any]:
        """Return what Lambda's Invoke API would answer."""
        return {"errorType": type(self).__name__, "errorMessage": str(self)}


class FunctionError(InvocationFailed):
    """The function itself reported an error: while it was imported, or in its handler."""

    def __init__(self, function: str, error: dict[str, Any]) -> None:
        super().__init__(f"{function}: {error.get('errorType')}: {error.get('errorMessage')}")
        self.error = error

    @property
    def place(self) -> str:
        """Where it was raised, in one line, as far as the function said so."""
        stack = self.error.get("stackTrace")
        return " ".join(str(stack[-1]).split()) if isinstance(stack, list) and stack else ""

    def document(self) -> dict[str, Any]:
        """Return the error as the function reported it, with its stack trace."""
        return self.error


class Crashed(InvocationFailed):
    """The function's process ended without an answer."""


class TimedOut(InvocationFailed):
    """The function took longer than its time-out and its process was ended."""


class Throttled(InvocationFailed):
    """No environment became free in time, or too many requests were waiting already."""
