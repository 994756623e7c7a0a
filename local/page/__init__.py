"""The page at `/`: an example of a browser client, and the tokens for it to sign in.

Only `make run` serves it; nothing of it is deployed. Everybody who can reach the port on this
machine can sign in as any user, as they can with the token that `make run` prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from local.events import Request, Response, message
from local.token import make_token

_HTML = Path(__file__).parent / "index.html"
_HOSTS = ("127.0.0.1", "localhost")
_POLICY = "default-src 'self' 'unsafe-inline' data:; base-uri 'none'; frame-ancestors 'none'"
_LONGEST_USER = 255


def answer(request: Request, environ: Mapping[str, str]) -> Response | None:
    """Return the page, or a token for the page; None for every other request."""
    match request.method, request.path:
        case "GET", "/":
            headers = (
                ("content-type", "text/html; charset=utf-8"),
                ("content-security-policy", _POLICY),
            )
            return Response(200, headers, _html())
        case "POST", "/local/token":
            return _token(request, environ)
    return None


def _token(request: Request, environ: Mapping[str, str]) -> Response:
    """Return a token for the user that the body names, to this very page alone."""
    host = request.headers.get("host", "")
    is_ours = host.partition(":")[0] in _HOSTS
    if not is_ours or request.headers.get("origin") != f"http://{host}":
        return message(403, "Only the page that this address serves gets tokens")
    user = request.body.decode(errors="replace").strip()
    if not 0 < len(user) <= _LONGEST_USER or "\0" in user:
        return message(422, f"A user's name has 1 to {_LONGEST_USER} characters")
    return Response(200, (("content-type", "text/plain"),), make_token(user, environ).encode())


@cache
def _html() -> bytes:
    return _HTML.read_bytes()
