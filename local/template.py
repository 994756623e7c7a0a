"""The parts of template.yaml that are served: functions, routes, authorizer, CORS.

Nothing else configures the local API, so it serves the API that would be deployed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import template as source
from local.errors import LocalError

_READ = (
    *("CodeUri", "Handler", "Runtime", "Timeout", "MemorySize", "Environment", "Layers"),
    "LoggingConfig",
)


@dataclass(frozen=True, slots=True)
class Function:
    """One Lambda function: its code, and the limits within which it runs.

    `timeout` is in seconds, `memory` in megabytes.
    """

    name: str
    code: Path
    handler: str
    runtime: str
    timeout: float
    memory: int
    environment: Mapping[str, str]
    layers: tuple[Path, ...]
    log_format: str


@dataclass(frozen=True, slots=True)
class Authorizer:
    """A Lambda authorizer with simple responses.

    Its cache's key are the values of `headers` (in lower case); a response stays for `ttl` seconds.
    """

    function: str
    headers: tuple[str, ...]
    ttl: float


@dataclass(frozen=True, slots=True)
class Route:
    """One route; `method` is upper case or ANY."""

    method: str
    path: str
    function: str
    authorizer: Authorizer | None

    @property
    def key(self) -> str:
        """The routeKey of its events."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Template:
    """Everything that the local API takes from template.yaml; `cors` is its CorsConfiguration."""

    functions: Mapping[str, Function]
    routes: tuple[Route, ...]
    cors: Mapping[str, Any]


def read_template(path: Path, environ: Mapping[str, str]) -> Template:
    """Read the template; parameters come from `environ` (DatabaseUrl: DATABASE_URL).

    Raise LocalError with one sentence when the template cannot be read, and TemplateError when it
    is invalid or a parameter's value breaks the template's rules.
    """
    try:
        return _read(path, environ)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # half of an edit, say
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise LocalError(f"{path.name} cannot be read: {reason}.") from error


def _read(path: Path, environ: Mapping[str, str]) -> Template:
    document = source.parse(path)
    resolve = source.Resolver(document, source.parameter_values(document, environ)).resolve
    layers = {
        name: (path.parent / each["ContentUri"]).resolve()
        for name, each in source.properties_of(document, source.LAYER).items()
    }
    (api,) = source.properties_of(document, source.API).values() or [{}]
    api = resolve({key: api.get(key, {}) for key in ("Auth", "CorsConfiguration")})
    authorizers = {
        name: _authorizer(each) for name, each in api["Auth"].get("Authorizers", {}).items()
    }
    routes = [
        Route(method, route, function, authorizers[authorizer] if authorizer else None)
        for function, method, route, authorizer in source.routes(document)
    ]
    functions = {}
    for name, each in source.functions(document).items():
        found = resolve({key: each[key] for key in _READ if key in each})
        functions[name] = _function(name, found, path.parent, layers, environ)
    return Template(functions, tuple(routes), api["CorsConfiguration"])


def _function(
    name: str,
    found: Mapping[str, Any],
    root: Path,
    layers: Mapping[str, Path],
    environ: Mapping[str, str],
) -> Function:
    variables = found.get("Environment", {}).get("Variables", {})
    environment = {  # as CloudFormation writes them
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in variables.items()
    }
    if "JWT_SECRET" in environment and "JWT_PREVIOUS_SECRET" in environ:
        # No parameter is for it, and a developer may still want to try it (docs/issuers.md).
        environment["JWT_PREVIOUS_SECRET"] = environ["JWT_PREVIOUS_SECRET"]
    return Function(
        name=name,
        code=(root / found["CodeUri"]).resolve(),
        handler=found["Handler"],
        runtime=found["Runtime"],
        timeout=float(found.get("Timeout", 3)),
        memory=int(found.get("MemorySize", 128)),
        environment=environment,
        # Layers of others, which are ARNs, are not here.
        layers=tuple(layers[layer] for layer in found.get("Layers", ()) if layer in layers),
        log_format=found.get("LoggingConfig", {}).get("LogFormat", "Text"),
    )


def _authorizer(found: Mapping[str, Any]) -> Authorizer:
    (function,) = re.findall(r":function:([A-Za-z0-9_-]+)", found["FunctionArn"])
    identity = found["Identity"]
    return Authorizer(
        function=function,
        headers=tuple(header.lower() for header in identity["Headers"]),
        ttl=float(identity.get("ReauthorizeEvery", 0)),
    )
