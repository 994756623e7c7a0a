"""Error responses: JSON with a `detail`, as problem+json (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from web.response import Response

MEDIA_TYPE = "application/problem+json"

# Python's own phrases differ between its versions; these are RFC 9110's.
TITLES = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class ProblemError(Exception):
    """An error that has its HTTP response.

    `slug` ends the response's `type`; by default it is made of the status. `is_fault` says that
    the service failed, and not the client's request; by default every status from 500 on does.
    `members` are further members of the response's body.
    """

    def __init__(
        self,
        status: int,
        detail: str | Sequence[Mapping[str, Any]],
        headers: Mapping[str, str] | None = None,
        *,
        slug: str | None = None,
        is_fault: bool | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = TITLES[status]
        self.detail = detail
        self.headers = dict(headers or {})
        self.slug = slug or self.title.lower().replace(" ", "-")
        self.is_fault = status >= 500 if is_fault is None else is_fault
        self.members: dict[str, Any] = {}

    def response(self, request_id: str) -> Response[str]:
        """Return the response; it names the request, so that its log can be found."""
        body = {
            "type": f"/problems/{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": request_id,
            **self.members,
        }
        text = json.dumps(body, separators=(",", ":"))
        return Response(self.status, MEDIA_TYPE, text, self.headers, is_fault=self.is_fault)


def invalid(errors: Sequence[Any]) -> ProblemError:
    """Make a 422 that lists each error as FastAPI's clients expect it.

    >>> invalid([{"type": "missing", "loc": ("body",), "msg": "Field required"}]).detail
    [{'type': 'missing', 'loc': ['body'], 'msg': 'Field required'}]
    """
    return ProblemError(
        422,
        [
            {"type": str(e["type"]), "loc": list(e["loc"]), "msg": str(e.get("msg", ""))}
            for e in errors
        ],
    )


def internal() -> ProblemError:
    """Make the 500, which says nothing of its error."""
    return ProblemError(500, "Something went wrong; the request id names it in the logs")
