"""GET /openapi.json and GET /docs: the specification, and a page to read it and try it.

The specification is generated from the handlers and shipped beside this file; a default that this
deployment has set replaces the generated one. The page carries
Swagger UI (assets/) inside itself, so that nothing is fetched from another host. Neither needs the
database or its driver.
"""

import base64
import gzip
import hashlib
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import startup
from observability import LambdaContext
from web.binding import Parameter
from web.problems import ProblemError
from web.response import Response
from web.route import route

_HERE = Path(__file__).parent
_CACHE = {"Cache-Control": "public, max-age=300"}
_ACCEPT_ENCODING = Parameter("header", "Accept-Encoding")
_POLICY = (
    "default-src 'none'; script-src {scripts}; style-src {styles}; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@route("GET", "/openapi.json")
def specification() -> Response[str]:
    """The OpenAPI 3.1 document of what is really served."""
    return Response(200, "application/json", _document(), _CACHE)


@route("GET", "/docs")
def page(accept_encoding: Annotated[str, _ACCEPT_ENCODING] = "") -> Response[bytes]:
    """Swagger UI for the specification, compressed once and kept."""
    headers = _CACHE | {"Content-Security-Policy": _policy(), "Vary": "Accept-Encoding"}
    if "gzip" in accept_encoding:
        headers["Content-Encoding"] = "gzip"
        return Response(200, "text/html; charset=utf-8", _compressed(), headers)
    return Response(200, "text/html; charset=utf-8", _html().encode(), headers)


@route("ANY", "/{other}")
def elsewhere() -> Response[str]:
    """404 for a route that the template gave to this function and nobody wrote."""
    raise ProblemError(404, "There is no such page")


@cache
def _document() -> str:
    """Return the generated specification, with the defaults that this deployment has set."""
    document = json.loads((_HERE / "openapi.json").read_text())
    for operation in (each for path in document["paths"].values() for each in path.values()):
        for schema in (parameter["schema"] for parameter in operation.get("parameters", [])):
            variable = schema.pop("x-default-from", "")
            if os.environ.get(variable):
                schema["default"] = os.environ[variable]
    return json.dumps(document, ensure_ascii=False)


@cache
def _compressed() -> bytes:
    return gzip.compress(_html().encode(), mtime=0)


@cache
def _html() -> str:
    page = (_HERE / "page.html").read_text()
    css = (_HERE / "assets" / "swagger-ui.css").read_text()
    script = (_HERE / "assets" / "swagger-ui-bundle.js").read_text()
    return page.replace("/*swagger-ui.css*/", css).replace("/*swagger-ui.js*/", script)


@cache
def _policy() -> str:
    """Allow exactly the page's own scripts and styles, each by its hash."""
    return _POLICY.format(scripts=_hashes("script"), styles=_hashes("style"))


def _hashes(element: str) -> str:
    texts = re.findall(f"^  <{element}>(.*?)</{element}>$", _html(), re.DOTALL | re.MULTILINE)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()) for text in texts]
    return " ".join(f"'sha256-{digest.decode()}'" for digest in digests)


_ENDPOINTS = {f"{each.method} {each.path}": each for each in (specification, page)}


def handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    """Serve both routes: this is the one function that has two."""
    route = event.get("routeKey") if isinstance(event, dict) else None
    return _ENDPOINTS.get(str(route), elsewhere)(event, context)


startup.finish(database=False)
