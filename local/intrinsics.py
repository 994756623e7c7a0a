"""CloudFormation's intrinsic functions, as far as an API's routes and environment need them.

SAM's translator leaves them in its output; CloudFormation resolves them while it deploys. Nothing
is deployed here, so a reference to a resource becomes the name or ARN that it would get.

The resolvers of SAM's libraries do not serve: the translator's knows neither conditions nor
Fn::Join, and SAM CLI's is ten times as long, in another virtual environment, and slow to import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from local.errors import LocalError

ACCOUNT = "123456789012"
REGION = "us-east-1"

_PSEUDO_PARAMETERS = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/local/local",
    "AWS::StackName": "local",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": None,
}
_ALIASES = ("AWS::Lambda::Alias", "AWS::Lambda::Version")


def function_arn(name: str) -> str:
    """Return the ARN of the function with this logical id."""
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


class Resolver:
    """Resolves values of one translated template with one set of parameter values."""

    def __init__(self, document: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        self._resources: Mapping[str, Any] = document.get("Resources", {})
        self._conditions: Mapping[str, Any] = document.get("Conditions", {})
        self._parameters = {**_PSEUDO_PARAMETERS, **parameters}

    def resolve(self, value: Any) -> Any:
        """Return `value` with every intrinsic function inside replaced; AWS::NoValue drops out.

        Raises LocalError for an intrinsic function that cannot be resolved without AWS.
        """
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not None]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            (name, argument), *_ = value.items()
            if name in ("Ref", "Condition") or str(name).startswith("Fn::"):
                return self._call(name, argument)
        resolved = {key: self.resolve(item) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not None}

    def _call(self, name: str, argument: Any) -> Any:
        match name:
            case "Ref":
                return self._ref(argument)
            case "Fn::GetAtt":
                return self._attribute(*_dotted(argument))
            case "Fn::Sub":
                return self._substitute(argument)
            case "Fn::Join":
                separator, parts = argument
                return str(separator).join(map(str, self.resolve(parts)))
            case "Fn::Split":
                separator, text = argument
                return str(self.resolve(text)).split(separator)
            case "Fn::Select":
                index, parts = argument
                return self.resolve(parts)[int(index)]
            case "Fn::If":
                condition, yes, no = argument
                return self.resolve(yes if self._holds({"Condition": condition}) else no)
        raise LocalError(f"template.yaml uses {name}, which cannot be resolved without AWS.")

    def _ref(self, name: str) -> Any:
        if name in self._parameters:
            return self._parameters[name]
        if name not in self._resources:
            raise LocalError(f"template.yaml refers to {name}, which it does not define.")
        resource = self._resources[name]
        if resource["Type"] in _ALIASES:
            # A route of a function with AutoPublishAlias: what it publishes is today's code.
            return function_arn(self.resolve(resource["Properties"]["FunctionName"]))
        return name

    def _attribute(self, name: str, attribute: str) -> str:
        if name not in self._resources:
            raise LocalError(f"template.yaml refers to {name}, which it does not define.")
        is_function = self._resources[name]["Type"] == "AWS::Lambda::Function"
        return function_arn(name) if is_function else f"{name}.{attribute}"

    def _substitute(self, argument: Any) -> str:
        text, extra = (argument, {}) if isinstance(argument, str) else argument

        def replace(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):  # ${!Literal} stands for ${Literal}
                return "${" + name[1:] + "}"
            if name in extra:
                return str(self.resolve(extra[name]))
            value = self._attribute(*_dotted(name)) if "." in name else self._ref(name)
            return ",".join(value) if isinstance(value, list) else str(value)

        return re.sub(r"\$\{([^}]*)\}", replace, text)

    def _holds(self, condition: Any) -> bool:
        (name, argument), *_ = condition.items()
        match name:
            case "Condition":
                return self._holds(self._conditions[argument])
            case "Fn::Equals":
                left, right = map(self.resolve, argument)
                return bool(left == right)
            case "Fn::Not":
                return not self._holds(argument[0])
            case "Fn::And":
                return all(map(self._holds, argument))
            case "Fn::Or":
                return any(map(self._holds, argument))
        raise LocalError(f"template.yaml uses {name}, which cannot be resolved without AWS.")


def _dotted(argument: Any) -> tuple[str, str]:
    parts = argument.split(".", 1) if isinstance(argument, str) else argument
    return parts[0], ".".join(parts[1:])
