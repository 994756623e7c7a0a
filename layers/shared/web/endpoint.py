"""One endpoint of the API: a route with an identity in front of it and the database behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter, ValidationError

import neon
from observability import LambdaContext, metrics
from tasks.models import UserId
from web import failures, identity, work
from web.problems import ProblemError, invalid
from web.request import Request
from web.response import Response
from web.route import Function, Route

_USER_ID: TypeAdapter[str] = TypeAdapter(UserId)


class Endpoint(Route):
    """An endpoint's Lambda handler. Only a `public` one lets callers in without an identity.

    `too_slow` is the sentence for a client whose request took longer than a time limit that the
    endpoint sets for its statement.
    """

    def __init__(
        self,
        function: Function,
        method: str,
        path: str,
        *,
        operation: str,
        summary: str,
        status: int,
        public: bool,
        too_slow: str,
    ) -> None:
        if not (public or "{user_id}" in path):
            raise TypeError(f"{method} {path} is not public, so its path has to have a {{user_id}}")
        super().__init__(function, method, path)
        self.operation, self.summary, self.status = operation, summary, status
        self.public, self.too_slow = public, too_slow

    def _call(self, request: Request, context: LambdaContext) -> Response[Any]:
        """Admit the caller, then serve within the time that is left; count the database's work."""
        try:
            if not self.public:
                _admit(request)
            with neon.deadline(context.get_remaining_time_in_millis() / 1000):
                return super()._call(request, context)
        except ProblemError:
            raise
        except Exception as error:
            raise failures.problem_of(error, too_slow=self.too_slow) from error
        finally:
            work.account()


def endpoint(
    method: str,
    path: str,
    *,
    operation: str,
    summary: str,
    status: int = 200,
    public: bool = False,
    too_slow: str = "",
) -> Callable[[Function], Endpoint]:
    """Make an endpoint from a function, whose signature names the parameters."""
    return lambda function: Endpoint(
        function,
        method,
        path,
        operation=operation,
        summary=summary,
        status=status,
        public=public,
        too_slow=too_slow,
    )


def _admit(request: Request) -> None:
    """Check the identity, then the path's owner; the body and the database come later."""
    caller = identity.caller(request.event)
    metrics.add_metadata("actor", caller.actor)
    identity.require_owner(caller.user_id, _owner(request))


def _owner(request: Request) -> str:
    """Return the user id of the path. Raise a 422 ProblemError if no user can have it."""
    try:
        return _USER_ID.validate_python(request.path.get("user_id"))
    except ValidationError as error:
        raise invalid([{**e, "loc": ("path", "user_id")} for e in error.errors()]) from None
