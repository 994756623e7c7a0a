"""template.yaml as CloudFormation gets it: translated by SAM's own library, for one environment."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from deploy.environments import read_environment
from local.intrinsics import Resolver
from local.template import _parameter_values, _parse, _take_local_folders, _translate, variable_name
from tests.running import ROOT

PATH = ROOT / "template.yaml"
ENVIRONMENTS = ("dev", "staging", "prod")
Document = dict[str, Any]


@cache
def source() -> Document:
    """The template as it is written."""
    return _parse(PATH)


@cache
def document(environment: str, **parameters: str) -> Document:
    """The translated template of an environment, with some parameters changed."""
    return _translated(environment, parameters, lambda _: None)


def changed(change: Callable[[Document], None]) -> Document:
    """The translated template of dev after a change, made where its folders are in S3 already."""
    return _translated("dev", {}, change)


def _translated(
    environment: str, parameters: dict[str, str], change: Callable[[Document], None]
) -> Document:
    given = dict(read_environment(ROOT / "samconfig.toml", environment).parameters) | parameters
    environ = {variable_name(name): value for name, value in given.items()}
    parsed = _parse(PATH)
    values = _parameter_values(parsed["Parameters"], environ)
    _take_local_folders(parsed, ROOT)
    change(parsed)
    return _translate(parsed, values, PATH) | {"_values": values}


def resources(document: Document, kind: str) -> Iterator[tuple[str, Document]]:
    """The resources of one type, by logical id."""
    for name, resource in document["Resources"].items():
        if resource["Type"] == kind:
            yield name, resource["Properties"]


def resolved(document: Document, value: Any) -> Any:
    """The value without intrinsic functions, in an account and a region that are made up."""
    return Resolver(document, document["_values"]).resolve(value)


def statements(document: Document, role: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """What a role may do: (action, what its resource is, conditions), one by one."""
    properties = document["Resources"][role]["Properties"]
    policies = [each["PolicyDocument"] for each in properties.get("Policies", [])]
    for reference in properties.get("ManagedPolicyArns", []):
        if "Ref" in reference:
            managed = document["Resources"][reference["Ref"]]
            policies.append(managed["Properties"]["PolicyDocument"])
    return [
        (action, str(resolved(document, resource)), tuple(statement.get("Condition", ())))
        for policy in policies
        for statement in policy["Statement"]
        for action in _listed(statement["Action"])
        for resource in _listed(statement["Resource"])
    ]


def read_variables(folder: str) -> set[str]:
    """The environment variables that a function's code mentions by name."""
    paths = (ROOT / folder).rglob("*.py")
    text = "".join(path.read_text() for path in paths if "__pycache__" not in str(path))
    return set(re.findall(r'"([A-Z][A-Z_]{4,})"', text))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
