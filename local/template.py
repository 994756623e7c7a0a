"""template.yaml, translated by the very library that CloudFormation uses, as plain data.

Routes, authorizer, CORS, environment and time-outs of the local API come from here and from
nowhere else, so what is served is what would be deployed. What the template may say and this API
cannot do is refused by a sentence.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from local.errors import LocalError
from local.intrinsics import REGION, Resolver

# At exit the translator would warn of usage metrics that it did not send; they are not wanted.
logging.getLogger("samtranslator").setLevel(logging.ERROR)

_SOURCE_OF = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}
_FUNCTION, _LAYER = "AWS::Lambda::Function", "AWS::Lambda::LayerVersion"
_API = "AWS::ApiGatewayV2::Api"
_OF_CORS = {"allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders", "maxAge"}
_HEADER = "$request.header."


@dataclass(frozen=True, slots=True)
class Function:
    """One Lambda function: what to run, where, and within which limits.

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

    It is asked about the values of `headers` (in lower case); its answer is kept for `ttl` seconds.
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
    """Everything that the local API takes from template.yaml.

    `cors` is the `x-amazon-apigateway-cors` of its OpenAPI document; {} switches CORS off.
    """

    functions: Mapping[str, Function]
    routes: tuple[Route, ...]
    cors: Mapping[str, Any]


def read_template(path: Path, environ: Mapping[str, str]) -> Template:
    """Read and translate the template; parameters come from `environ` (DatabaseUrl: DATABASE_URL).

    Raises LocalError with one sentence when the template cannot be read, is invalid, or when a
    parameter's value breaks the rules that the template sets for it.
    """
    try:
        return _read(path, environ)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # half of an edit, say
        reason = f"{type(error).__name__}: {_one_line(error)}"
        raise LocalError(f"{path.name} cannot be read: {reason}.") from error


def _read(path: Path, environ: Mapping[str, str]) -> Template:
    source = _parse(path)
    parameters = _parameter_values(source.get("Parameters", {}), environ)
    _take_local_folders(source, path.parent)
    document = _translate(source, parameters, path)
    resolve = Resolver(document, parameters).resolve
    layers = {name: Path(each["Content"]["S3Key"]) for name, each in _all(document, _LAYER)}
    functions = {
        name: _function(name, resolve(each), layers, environ)
        for name, each in _all(document, _FUNCTION)
    }
    apis = [properties["Body"] for _, properties in _all(document, _API)]
    _require(len(apis) < 2, "it defines more than one HTTP API; one can be served.")
    api = resolve(apis[0]) if apis else {}
    return Template(functions, tuple(_routes(api)), _cors(api))


def parameter_names(path: Path) -> set[str]:
    """Return the names of the template's parameters, without translating it."""
    return set(_parse(path).get("Parameters", {}))


def function_names(path: Path) -> set[str]:
    """Return the logical ids of the template's functions, without translating it."""
    resources = _parse(path)["Resources"].items()
    return {name for name, each in resources if each.get("Type") == "AWS::Serverless::Function"}


def variable_name(parameter: str) -> str:
    """Return the environment variable that gives a parameter its value."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", parameter).upper()


def _parse(path: Path) -> dict[str, Any]:
    import yaml
    from samtranslator.yaml_helper import yaml_parse

    try:
        document = yaml_parse(path.read_text())
    except FileNotFoundError:
        raise LocalError(f"There is no {path.name} in {path.parent}.") from None
    except yaml.YAMLError as error:
        raise LocalError(f"{path.name} is not valid YAML: {_one_line(error)}") from None
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise LocalError(f"{path.name} has no Resources.")
    for section in ("Parameters", "Resources"):
        entries = document.get(section, {})
        if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
            raise LocalError(f"{path.name}: {section} has a name without a definition.")
    return document


def _parameter_values(
    definitions: Mapping[str, Mapping[str, Any]], environ: Mapping[str, str]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, definition in definitions.items():
        variable = variable_name(name)
        value = environ.get(variable, definition.get("Default"))
        if value is None:
            raise LocalError(f"{variable} has to be set: template.yaml has no default for {name}.")
        _check_parameter(variable, str(value), definition)
        is_list = definition.get("Type") == "CommaDelimitedList"
        values[name] = [part.strip() for part in str(value).split(",")] if is_list else str(value)
    return values


def _check_parameter(variable: str, value: str, definition: Mapping[str, Any]) -> None:
    """Apply the rules that CloudFormation applies, without repeating a value that may be secret."""
    allowed = definition.get("AllowedValues")
    pattern = definition.get("AllowedPattern")
    if allowed and value not in map(str, allowed):
        raise LocalError(f"{variable} has to be one of {', '.join(map(str, allowed))}.")
    if pattern and not re.fullmatch(str(pattern), value):
        rule = definition.get("ConstraintDescription", f"has to match {pattern}")
        raise LocalError(f"{variable} {str(rule).rstrip('.')}.")
    least = float(definition.get("MinValue", "-inf"))
    most = float(definition.get("MaxValue", "inf"))
    is_number = re.fullmatch(r"-?\d+(\.\d+)?", value)
    if definition.get("Type") == "Number" and not (is_number and least <= float(value) <= most):
        raise LocalError(f"{variable} has to be a number from {least:g} to {most:g}.")


def _take_local_folders(source: dict[str, Any], root: Path) -> None:
    """Put an S3 address in place of every local folder, as `sam validate` does."""
    for name, resource in source["Resources"].items():
        key = _SOURCE_OF.get(resource.get("Type", ""))
        if key is None:
            continue
        properties = resource.setdefault("Properties", {})
        folder = properties.get(key)
        _require(isinstance(folder, str), f"{name} has no local {key}.")
        properties[key] = {"Bucket": "local", "Key": str((root / folder).resolve())}


def _translate(source: dict[str, Any], parameters: Mapping[str, Any], path: Path) -> dict[str, Any]:
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    # The translator wants a session for its region only; a real one would read ~/.aws.
    session = SimpleNamespace(region_name=REGION)
    translator = Translator({}, Parser(), boto_session=session)
    try:
        return cast("dict[str, Any]", translator.translate(source, dict(parameters)))
    except InvalidDocumentException as error:
        causes = "; ".join(_one_line(cause.message) for cause in error.causes)
        raise LocalError(f"{path.name} is not a valid SAM template: {causes}") from None
    except Exception as error:  # the translator trips over some mistakes instead of naming them
        reason = _one_line(error) or type(error).__name__
        raise LocalError(f"{path.name} cannot be translated: {reason}") from error


def _all(document: dict[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in document["Resources"].items():
        if resource["Type"] == kind:
            yield name, resource["Properties"]


def _function(
    name: str, found: dict[str, Any], layers: Mapping[str, Path], environ: Mapping[str, str]
) -> Function:
    variables = found.get("Environment", {}).get("Variables", {})
    environment = {  # as CloudFormation writes them
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in variables.items()
    }
    if "JWT_SECRET" in environment and "JWT_PREVIOUS_SECRET" in environ:
        # No parameter is for it, and a developer may still want to try it (docs/identity.md).
        environment["JWT_PREVIOUS_SECRET"] = environ["JWT_PREVIOUS_SECRET"]
    return Function(
        name=name,
        code=Path(found["Code"]["S3Key"]),
        handler=found["Handler"],
        runtime=found["Runtime"],
        timeout=float(found.get("Timeout", 3)),
        memory=int(found.get("MemorySize", 128)),
        environment=environment,
        # Layers of others, which are ARNs, are not here.
        layers=tuple(layers[layer] for layer in found.get("Layers", ()) if layer in layers),
        log_format=found.get("LoggingConfig", {}).get("LogFormat", "Text"),
    )


def _routes(api: Mapping[str, Any]) -> Iterator[Route]:
    schemes = api.get("components", {}).get("securitySchemes", {})
    authorizers = {name: _authorizer(name, scheme) for name, scheme in schemes.items()}
    for path, methods in api.get("paths", {}).items():
        _require("$default" not in path, "a route has to have a path; $default cannot be served.")
        for method, operation in methods.items():
            integration = operation.get("x-amazon-apigateway-integration", {})
            is_current = integration.get("payloadFormatVersion") == "2.0"
            _require(is_current, f"the route {path} has to have payload format 2.0.")
            names = [name for each in operation.get("security", ()) for name in each]
            yield Route(
                method="ANY" if method == "x-amazon-apigateway-any-method" else method.upper(),
                path=path,
                function=_function_name(integration["uri"]),
                authorizer=next((authorizers[name] for name in names if name != "NONE"), None),
            )


def _authorizer(name: str, scheme: Mapping[str, Any]) -> Authorizer:
    found = scheme.get("x-amazon-apigateway-authorizer", {})
    is_simple = found.get("type") == "request" and found.get("enableSimpleResponses")
    _require(is_simple, f"{name} has to be a Lambda authorizer with simple responses.")
    sources = found.get("identitySource", ())
    is_known = sources and all(source.startswith(_HEADER) for source in sources)
    _require(is_known, f"{name} has to have headers, and nothing else, as its identity.")
    return Authorizer(
        function=_function_name(found["authorizerUri"]),
        headers=tuple(source.removeprefix(_HEADER).lower() for source in sources),
        ttl=float(found.get("authorizerResultTtlInSeconds", 0)),
    )


def _cors(api: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = api.get("x-amazon-apigateway-cors", {})
    unknown = ", ".join(sorted(found.keys() - _OF_CORS))
    _require(not unknown, f"{unknown} of CORS cannot be done here.")
    return found


def _function_name(uri: str) -> str:
    names: list[str] = re.findall(r":function:([A-Za-z0-9_-]+)", uri)
    _require(names, "a route or an authorizer has no Lambda function.")
    return names[0]


def _require(is_so: object, what: str) -> None:
    if not is_so:
        raise LocalError(f"template.yaml: {what}")


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
