"""template.yaml as data: its parameters, functions, routes and intrinsic functions.

Everything that reads the template on this machine reads it here. It must know neither AWS nor what
the template is read for. An intrinsic function that is not known here is refused by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ACCOUNT = "123456789012"
REGION = "us-east-1"
FUNCTION = "AWS::Serverless::Function"
LAYER = "AWS::Serverless::LayerVersion"
API = "AWS::Serverless::HttpApi"

Document = dict[str, Any]

_PSEUDO_PARAMETERS = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/local/local",
    "AWS::StackName": "local",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": None,
}


class TemplateError(Exception):
    """The template, or a value of its parameters, cannot be used; `str()` is one sentence."""


class Route(NamedTuple):
    """One route of the HTTP API; `method` is upper case or ANY, `authorizer` None without one."""

    function: str
    method: str
    path: str
    authorizer: str | None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads YAML with the short forms of intrinsic functions; libyaml is ten times as fast."""


def _intrinsic(loader: Any, suffix: str, node: yaml.Node) -> Document:
    """Return the long form of `!Ref x`, `!GetAtt x.y`, `!Sub ...`."""
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        value = value.split(".", 1) if suffix == "GetAtt" else value
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _intrinsic)


def parse(path: Path) -> Document:
    """Return the template as it is written. Raise TemplateError when it is none."""
    try:
        document = yaml.load(path.read_text(), _Loader)  # noqa: S506 - it is a safe loader
    except FileNotFoundError:
        raise TemplateError(f"There is no {path.name} in {path.parent}.") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise TemplateError(f"{path.name} is not valid YAML: {reason}") from None
    if not isinstance(document, dict) or not isinstance(document.get("Resources"), dict):
        raise TemplateError(f"{path.name} has no Resources.")
    for section in ("Parameters", "Resources"):
        entries = document.get(section, {})
        if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
            raise TemplateError(f"{path.name}: {section} has a name without a definition.")
    return document


def properties_of(document: Mapping[str, Any], kind: str) -> dict[str, Document]:
    """Return the properties of the resources of one type, by logical id."""
    return {
        name: resource.get("Properties") or {}
        for name, resource in document["Resources"].items()
        if resource.get("Type") == kind
    }


def functions(document: Mapping[str, Any]) -> dict[str, Document]:
    """Return the properties of all functions, with those of Globals, by logical id."""
    shared = document.get("Globals", {}).get("Function", {})
    return {name: _merged(shared, each) for name, each in properties_of(document, FUNCTION).items()}


def _merged(shared: Any, own: Any) -> Any:
    """Return what SAM makes of a global value and a function's own."""
    if isinstance(shared, list) and isinstance(own, list):
        return shared + own
    if not isinstance(shared, dict) or not isinstance(own, dict) or _is_call(shared):
        return own
    return {**shared, **{k: _merged(shared[k], v) if k in shared else v for k, v in own.items()}}


def _is_call(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)).startswith(("Ref", "Fn::"))


def routes(document: Mapping[str, Any]) -> Iterator[Route]:
    """Yield the routes of the HTTP API in the order of the template."""
    apis = list(properties_of(document, API).values())
    default = apis[0].get("Auth", {}).get("DefaultAuthorizer") if apis else None
    for name, function in properties_of(document, FUNCTION).items():
        for event in (function.get("Events") or {}).values():
            if event["Type"] == "HttpApi":
                found = event["Properties"]
                authorizer = found.get("Auth", {}).get("Authorizer", default)
                public = authorizer in (None, "NONE")
                method = found["Method"].upper()
                yield Route(name, method, found["Path"], None if public else authorizer)


def variable_name(parameter: str) -> str:
    """Return the environment variable that gives a parameter its value.

    >>> variable_name("CorsOrigins")
    'CORS_ORIGINS'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", parameter).upper()


def parameter_values(document: Document, environ: Mapping[str, str]) -> Document:
    """Return the values of all parameters: from `environ`, or the template's defaults.

    Raise TemplateError when a value breaks the template's rules, without repeating the value.
    """
    names = document.get("Parameters", {})
    return {name: parameter_value(document, name, environ) for name in names}


def parameter_value(document: Document, name: str, environ: Mapping[str, str]) -> str | list[str]:
    """Return the value of one parameter, as `parameter_values` does."""
    variable, definition = variable_name(name), document["Parameters"][name]
    value = environ.get(variable, definition.get("Default"))
    if value is None:
        raise TemplateError(f"{variable} has to be set: {name} has no default.")
    is_list = definition.get("Type") == "CommaDelimitedList"
    parts = [part.strip() for part in str(value).split(",")] if is_list else [str(value)]
    for part in parts:
        _check_parameter(variable, part, definition)
    return parts if is_list else str(value)


def _check_parameter(variable: str, value: str, definition: Mapping[str, Any]) -> None:
    allowed = definition.get("AllowedValues")
    pattern = definition.get("AllowedPattern")
    if allowed and value not in map(str, allowed):
        raise TemplateError(f"{variable} has to be one of {', '.join(map(str, allowed))}.")
    if pattern and not re.fullmatch(str(pattern), value):
        rule = definition.get("ConstraintDescription", f"has to match {pattern}")
        raise TemplateError(f"{variable} {str(rule).rstrip('.')}.")
    least = float(definition.get("MinValue", "-inf"))
    most = float(definition.get("MaxValue", "inf"))
    is_number = re.fullmatch(r"-?\d+(\.\d+)?", value)
    if definition.get("Type") == "Number" and not (is_number and least <= float(value) <= most):
        raise TemplateError(f"{variable} has to be a number from {least:g} to {most:g}.")


def function_arn(name: str) -> str:
    """Return the ARN of the function with this logical id."""
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


class Resolver:
    """Resolves the intrinsic functions of one template with one set of parameter values.

    Nothing is deployed, so a reference to a resource becomes the name or ARN that it would get.
    """

    def __init__(self, document: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        self._resources: Mapping[str, Any] = document.get("Resources", {})
        self._conditions: Mapping[str, Any] = document.get("Conditions", {})
        self._parameters = {**_PSEUDO_PARAMETERS, **parameters}

    def resolve(self, value: Any) -> Any:
        """Return `value` with every intrinsic function inside replaced; AWS::NoValue drops out.

        Raise TemplateError for an intrinsic function that is not known here.
        """
        if isinstance(value, list):
            return [found for item in value if (found := self.resolve(item)) is not None]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref" or str(name).startswith("Fn::"):
                return self._call(name, argument)
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not None}

    def _call(self, name: str, argument: Any) -> Any:
        match name:
            case "Ref":
                return self._named(argument)
            case "Fn::GetAtt":
                return self._named(".".join(argument))
            case "Fn::Sub":
                text, extra = (argument, {}) if isinstance(argument, str) else argument
                return self._substitute(text, extra)
            case "Fn::If":
                condition, yes, no = argument
                return self.resolve(yes if self._holds(self._conditions[condition]) else no)
        raise TemplateError(f"template.yaml uses {name}, which cannot be resolved here.")

    def _named(self, name: str) -> Any:
        """Return the value of a parameter, of a resource, or of an attribute (`Name.Arn`)."""
        if name in self._parameters:
            return self._parameters[name]
        logical_id, _, attribute = name.partition(".")
        if logical_id not in self._resources:
            raise TemplateError(f"template.yaml refers to {logical_id}, which it does not define.")
        resource = self._resources[logical_id]
        if not attribute and resource["Type"] == "AWS::Lambda::Alias":
            # A route of a function with AutoPublishAlias: what it publishes is today's code.
            return function_arn(self.resolve(resource["Properties"]["FunctionName"]))
        is_function = resource["Type"] in ("AWS::Lambda::Function", FUNCTION)
        return function_arn(logical_id) if attribute and is_function else name

    def _substitute(self, text: str, extra: Mapping[str, Any]) -> str:
        def value_of(match: re.Match[str]) -> str:
            name = match[1]
            value = self.resolve(extra[name]) if name in extra else self._named(name)
            return ",".join(value) if isinstance(value, list) else str(value)

        return re.sub(r"\$\{([^}]*)\}", value_of, text)

    def _holds(self, condition: Mapping[str, Any]) -> bool:
        ((name, argument),) = condition.items()
        match name:
            case "Fn::Equals":
                left, right = map(self.resolve, argument)
                return bool(left == right)
            case "Fn::Not":
                return not self._holds(argument[0])
        raise TemplateError(f"template.yaml uses {name}, which cannot be resolved here.")
