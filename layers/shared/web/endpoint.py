"""One endpoint: the Lambda handler that is made from a plain, typed function.

A Lambda function is one endpoint, so nothing routes: the gateway has matched the route and decoded
the path. Powertools' own resolver was tried twice and is not used at run time. Behind it the p50
and the processor time of a request are a quarter to a half higher; it validates before any
middleware, so identity cannot come first; and it answers 404 for a user id with `/` or `"`.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from observability import LambdaContext, logger, metrics, observed, service_metrics
from web import identity
from web.binding import Binding
from web.problems import ProblemError, internal
from web.request import Request
from web.response import Response

_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Strict-Transport-Security": "max-age=63072000",
    "X-Content-Type-Options": "nosniff",
}

Function = Callable[..., Response[Any]]


class Endpoint:
    """A route's Lambda handler. Only a `public` one lets callers in without an identity.

    An endpoint without an `operation` is not in the specification. One that needs no `database`
    starts without its driver.
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
        database: bool,
    ) -> None:
        self.function, self.method, self.path = function, method, path
        self.operation, self.summary, self.status = operation, summary, status
        self.public = public
        self._binding = Binding(function)
        if not (public or self._binding.has_owner):
            raise TypeError(f"{method} {path} is not public, so it has to take a user_id")
        self._work = _with_database() if database else _WITHOUT
        self._invoke = observed(self._serve)

    def __call__(self, event: Any, context: LambdaContext) -> dict[str, Any]:
        """Answer one request. Nothing that a request holds makes it raise."""
        return self._invoke(event, context)

    def _serve(self, event: Any, context: LambdaContext) -> dict[str, Any]:
        started = time.perf_counter()
        with self._work.deadline(context.get_remaining_time_in_millis() / 1000):
            response = self._respond(Request(event), context.aws_request_id)
        self._account(response, (time.perf_counter() - started) * 1000)
        return response.payload(_HEADERS | {"X-Request-Id": context.aws_request_id})

    def _respond(self, request: Request, request_id: str) -> Response[Any]:
        """Admit the request, bind its arguments, call the function."""
        try:
            if not self.public:
                self._admit(request)
            return self.function(**self._binding.arguments(request))
        except ProblemError as refusal:
            return refusal.response(request_id)
        except Exception as error:
            problem = self._work.problem_of(error)
            if problem.is_fault:
                logger.error(f"{problem.title}: {error}", exc_info=error)
            return problem.response(request_id)

    def _admit(self, request: Request) -> None:
        """Check the identity, then the path's owner; the body and the database come later."""
        caller = identity.caller(request.event)
        metrics.add_metadata("actor", caller.actor)
        identity.require_owner(caller.user_id, self._binding.owner(request))

    def _account(self, response: Response[Any], milliseconds: float) -> None:
        """Say what became of the request, and nothing of what it said."""
        metrics.add_dimension("route", f"{self.method} {self.path}")
        metrics.add_metric("Requests", "Count", 1)
        metrics.add_metric("Errors", "Count", int(response.is_fault))
        metrics.add_metric("Latency", "Milliseconds", round(milliseconds, 1))
        metrics.add_metadata("message", "request")
        metrics.add_metadata("status", response.status)
        self._work.account()
        if response.is_fault and response.status == 503:
            service_metrics.add_metric("Unavailable", "Count", 1)


def endpoint(
    method: str,
    path: str,
    *,
    operation: str = "",
    summary: str = "",
    status: int = 200,
    public: bool = False,
    database: bool = True,
) -> Callable[[Function], Endpoint]:
    """Make the Lambda handler of a route from a function; its signature says what it takes."""
    return lambda function: Endpoint(
        function,
        method,
        path,
        operation=operation,
        summary=summary,
        status=status,
        public=public,
        database=database,
    )


class _Work(NamedTuple):
    """How an endpoint bounds the time of its work, counts it, and explains its errors."""

    deadline: Callable[[float], AbstractContextManager[Any]]
    account: Callable[[], object]
    problem_of: Callable[[Exception], ProblemError]


def _with_database() -> _Work:
    import neon  # an endpoint without a database starts without the driver
    from web import failures, work

    return _Work(neon.deadline, work.account, failures.problem_of)


_WITHOUT = _Work(nullcontext, lambda: None, internal)
