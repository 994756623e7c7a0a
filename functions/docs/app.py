"""GET /openapi.json and GET /docs: the specification, and a page to read and try it in.

The specification is generated from the handlers and shipped beside this file; the page carries
Swagger UI inside itself, so that nothing is fetched from another host.
"""

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import startup  # first of all
from web import AcceptEncoding, Response, api

_HERE = Path(__file__).parent
_CACHE = {"Cache-Control": "public, max-age=300"}
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@api.get("/openapi.json", public=True)
def specification() -> Response[str]:
    """The OpenAPI 3.1 document of what is really served."""
    return Response(200, "application/json", _document(), _CACHE)


@api.get("/docs", public=True)
def page(accept_encoding: AcceptEncoding = "") -> Response[bytes]:
    """Swagger UI for the specification, compressed once and kept."""
    headers = _CACHE | {"Content-Security-Policy": _POLICY, "Vary": "Accept-Encoding"}
    if "gzip" in accept_encoding:
        headers["Content-Encoding"] = "gzip"
        return Response(200, "text/html; charset=utf-8", _compressed(), headers)
    return Response(200, "text/html; charset=utf-8", _html().encode(), headers)


@cache
def _document() -> str:
    return (_HERE / "openapi.json").read_text()


@cache
def _compressed() -> bytes:
    return gzip.compress(_html().encode(), mtime=0)


@cache
def _html() -> str:
    page = (_HERE / "page.html").read_text()
    css = (_swagger_ui() / "swagger-ui.min.css").read_text()
    script = (_swagger_ui() / "swagger-ui-bundle.min.js").read_text()
    return page.replace("/*swagger-ui.css*/", css).replace("/*swagger-ui.js*/", script)


def _swagger_ui() -> Path:
    """Powertools brings it along, and need not be imported for it."""
    powertools = find_spec("aws_lambda_powertools")
    if powertools is None or powertools.origin is None:
        raise ModuleNotFoundError("aws_lambda_powertools")
    return Path(powertools.origin).parent / "event_handler" / "openapi" / "swagger_ui"


handler = api
startup.finish(database=False)
