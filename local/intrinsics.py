"""CloudFormation's intrinsic functions, as far as template.yaml needs them to run here.

SAM's translator leaves them in its output; CloudFormation resolves them while it deploys. Nothing
is deployed here, so a reference to a resource becomes the name or ARN that it would get. Any other
intrinsic function is refused by its name.
"""

from __future__ import annotations

import re
import secrets
import time
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


def trace_id() -> str:
    """Return a new X-Ray trace header, not sampled."""
    return f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};Sampled=0"


class Resolver:
    """Resolves values of one translated template with one set of parameter values."""

    def __init__(self, document: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        self._resources: Mapping[str, Any] = document.get("Resources", {})
        self._conditions: Mapping[str, Any] = document.get("Conditions", {})
        self._parameters = {**_PSEUDO_PARAMETERS, **parameters}

    def resolve(self, value: Any) -> Any:
        """Return `value` with every intrinsic function inside replaced; AWS::NoValue drops out.

        Raises LocalError for an intrinsic function that is not known here.
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
        raise LocalError(f"template.yaml uses {name}, which cannot be resolved here.")

    def _named(self, name: str) -> Any:
        """Return the value of a parameter, of a resource, or of an attribute (`Name.Arn`)."""
        if name in self._parameters:
            return self._parameters[name]
        logical_id, _, attribute = name.partition(".")
        if logical_id not in self._resources:
            raise LocalError(f"template.yaml refers to {logical_id}, which it does not define.")
        resource = self._resources[logical_id]
        if not attribute and resource["Type"] in _ALIASES:
            # A route of a function with AutoPublishAlias: what it publishes is today's code.
            return function_arn(self.resolve(resource["Properties"]["FunctionName"]))
        is_arn = attribute and resource["Type"] == "AWS::Lambda::Function"
        return function_arn(logical_id) if is_arn else name

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
        raise LocalError(f"template.yaml uses {name}, which cannot be resolved here.")
