"""template.yaml, translated by the very library that CloudFormation uses, as plain data.

Routes, authorizer, CORS, environment and time-outs of the local API come from here and from
nowhere else, so what is served is what would be deployed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from local.errors import LocalError
from local.intrinsics import REGION, Resolver

# At exit the translator would warn of usage metrics that it did not send; they are not wanted.
logging.getLogger("samtranslator").setLevel(logging.ERROR)

_FUNCTION = "AWS::Lambda::Function"
_API = "AWS::ApiGatewayV2::Api"
# What no template parameter is for, and what a developer may still want to try (docs/identity.md).
_OF_AUTHORIZERS = ("JWT_PREVIOUS_SECRET", "JWT_SUBJECTS")
_SOURCE_OF = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}


@dataclass(frozen=True, slots=True)
class Function:
    """One Lambda function: what to run, where, and within which limits.

    `timeout` is in seconds, `memory` in megabytes; `parameters` are the names of the template
    parameters that its environment refers to.
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
    parameters: frozenset[str]


@dataclass(frozen=True, slots=True)
class Authorizer:
    """A Lambda authorizer with simple responses; its answers are kept for `ttl` seconds."""

    name: str
    function: str
    identity_sources: tuple[str, ...]
    ttl: float


@dataclass(frozen=True, slots=True)
class Route:
    """One route; `method` is upper case or ANY, `path` is None for $default."""

    method: str
    path: str | None
    function: str
    authorizer: str | None

    @property
    def key(self) -> str:
        """The routeKey of its events."""
        return "$default" if self.path is None else f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Cors:
    """The API's CORS configuration; `max_age` is in seconds."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    exposed: tuple[str, ...]
    max_age: int | None
    credentials: bool


@dataclass(frozen=True, slots=True)
class Template:
    """Everything that the local API takes from template.yaml."""

    functions: Mapping[str, Function]
    routes: tuple[Route, ...] = ()
    authorizers: Mapping[str, Authorizer] = field(default_factory=dict)
    cors: Cors | None = None


def read_template(path: Path, environ: Mapping[str, str]) -> Template:
    """Read and translate the template; parameters come from `environ` (DatabaseUrl: DATABASE_URL).

    Raises LocalError with one sentence when the template cannot be read, is invalid, or when a
    parameter's value breaks the rules that the template sets for it.
    """
    source = _parse(path)
    parameters = _parameter_values(source.get("Parameters", {}), environ)
    folders = _take_local_folders(source, path.parent)
    document = _translate(source, parameters, path)
    template = _Reader(document, parameters, folders).template()
    given = {name: environ[name] for name in _OF_AUTHORIZERS if name in environ}
    return _with_variables(template, given) if given else template


def _with_variables(template: Template, given: Mapping[str, str]) -> Template:
    """Give the authorizers variables beside those of the template."""
    functions = dict(template.functions)
    for name in {each.function for each in template.authorizers.values()}:
        function = functions[name]
        functions[name] = replace(function, environment={**function.environment, **given})
    return replace(template, functions=functions)


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
        is_list = definition.get("Type") in ("CommaDelimitedList", "List<Number>")
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
    if len(value) < int(definition.get("MinLength", 0)):
        raise LocalError(f"{variable} is shorter than {definition['MinLength']} characters.")
    if len(value) > int(definition.get("MaxLength", len(value))):
        raise LocalError(f"{variable} is longer than {definition['MaxLength']} characters.")


def _take_local_folders(source: dict[str, Any], root: Path) -> dict[str, Path]:
    """Put an S3 address in place of every local folder, as `sam validate` does; return them."""
    folders = {}
    shared = source.get("Globals", {}).get("Function", {})
    for name, resource in source["Resources"].items():
        key = _SOURCE_OF.get(resource.get("Type", ""))
        if key is None:
            continue
        properties = resource.setdefault("Properties", {})
        folder = properties.get(key, shared.get(key) if key == "CodeUri" else None)
        if not isinstance(folder, str):
            raise LocalError(f"{name} in template.yaml has no local {key}.")
        folders[name] = (root / folder).resolve()
        # The name travels through the translator, which renames layers.
        properties[key] = f"s3://local/{name}"
    return folders


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


class _Reader:
    """Picks what the local API needs out of a translated template."""

    def __init__(
        self, document: dict[str, Any], parameters: dict[str, Any], folders: dict[str, Path]
    ) -> None:
        self._resources: dict[str, Any] = document["Resources"]
        self._parameters = parameters
        self._folders = folders
        self._resolve = Resolver(document, parameters).resolve

    def template(self) -> Template:
        functions = {name: self._function(name, found) for name, found in self._all(_FUNCTION)}
        apis = [properties for _, properties in self._all(_API)]
        if len(apis) > 1:
            raise LocalError("template.yaml defines more than one HTTP API; one can be served.")
        if not apis:
            return Template(functions)
        body = self._resolve(apis[0]["Body"])
        schemes = body.get("components", {}).get("securitySchemes", {})
        authorizers = {name: _authorizer(name, scheme) for name, scheme in schemes.items()}
        routes = tuple(_routes(body.get("paths", {}), authorizers))
        return Template(functions, routes, authorizers, _cors(body))

    def _all(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, resource in self._resources.items():
            if resource["Type"] == kind:
                yield name, resource["Properties"]

    def _function(self, name: str, properties: dict[str, Any]) -> Function:
        variables = properties.get("Environment", {}).get("Variables", {})
        return Function(
            name=name,
            code=self._folders[name],
            handler=self._resolve(properties["Handler"]),
            runtime=self._resolve(properties["Runtime"]),
            timeout=float(self._resolve(properties.get("Timeout", 3))),
            memory=int(self._resolve(properties.get("MemorySize", 128))),
            environment={key: _text(value) for key, value in self._resolve(variables).items()},
            layers=tuple(self._layers(self._resolve(properties.get("Layers", [])))),
            log_format=self._resolve(properties.get("LoggingConfig", {})).get("LogFormat", "Text"),
            parameters=frozenset(_references(variables)) & frozenset(self._parameters),
        )

    def _layers(self, names: Sequence[str]) -> Iterator[Path]:
        """Yield the folders of the template's own layers; those of others are not here."""
        for name in names:
            if name in self._resources:
                content = self._resources[name]["Properties"]["Content"]
                yield self._folders[content["S3Key"]]


def _routes(paths: Mapping[str, Any], authorizers: Mapping[str, Authorizer]) -> Iterator[Route]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            uri = operation.get("x-amazon-apigateway-integration", {}).get("uri", "")
            schemes = [name for each in operation.get("security", []) for name in each]
            authorizer = next((name for name in schemes if name in authorizers), None)
            any_method = method == "x-amazon-apigateway-any-method"
            yield Route(
                method="ANY" if any_method else method.upper(),
                path=None if path == "/$default" or path == "$default" else path,
                function=_function_name(uri),
                authorizer=authorizer,
            )


def _authorizer(name: str, scheme: Mapping[str, Any]) -> Authorizer:
    definition = scheme.get("x-amazon-apigateway-authorizer", {})
    if definition.get("type") != "request" or not definition.get("enableSimpleResponses"):
        raise LocalError(
            f"The authorizer {name} in template.yaml is not a Lambda authorizer with simple"
            " responses; no other kind can be run here."
        )
    return Authorizer(
        name=name,
        function=_function_name(definition["authorizerUri"]),
        identity_sources=tuple(definition.get("identitySource", ())),
        ttl=float(definition.get("authorizerResultTtlInSeconds", 0)),
    )


def _cors(body: Mapping[str, Any]) -> Cors | None:
    found = body.get("x-amazon-apigateway-cors")
    if found is None:
        return None
    return Cors(
        origins=_strings(found.get("allowOrigins")),
        methods=_strings(found.get("allowMethods")),
        headers=_strings(found.get("allowHeaders")),
        exposed=_strings(found.get("exposeHeaders")),
        max_age=int(found["maxAge"]) if "maxAge" in found else None,
        credentials=_text(found.get("allowCredentials", False)) == "true",
    )


def _strings(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value or ()
    return tuple(str(part).strip() for part in parts)


def _function_name(uri: str) -> str:
    match = re.search(r":function:([A-Za-z0-9_-]+)", uri)
    if match is None:
        raise LocalError("template.yaml has a route or authorizer without a Lambda function.")
    return match[1]


def _references(value: Any) -> Iterator[str]:
    """Yield the names that Ref and Fn::Sub mention anywhere inside `value`."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "Ref":
                yield item
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, str):
        yield from re.findall(r"\$\{(\w+)\}", value)


def _text(value: Any) -> str:
    """Return a value as CloudFormation writes it into an environment variable."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
