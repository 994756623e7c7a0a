"""template.yaml as CloudFormation gets it: translated for one environment by SAM's own library."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from deploy.environments import read_environment
from deploy.template import (
    FUNCTION,
    LAYER,
    REGION,
    Resolver,
    parameter_values,
    parse,
    properties_of,
    variable_name,
)
from tests.running import ROOT

# At exit the translator would warn of usage metrics that it did not send.
logging.getLogger("samtranslator").setLevel(logging.ERROR)

PATH = ROOT / "template.yaml"
MONITORING = parse(ROOT / "deploy" / "monitoring.yaml")
ENVIRONMENTS = ("dev", "staging", "prod")
Document = dict[str, Any]


@cache
def source() -> Document:
    """Return the template as it is written."""
    return parse(PATH)


def functions() -> dict[str, Document]:
    """Return the functions as they are written, by logical id."""
    return properties_of(source(), FUNCTION)


@cache
def document(environment: str, **parameters: str) -> Document:
    """Return the translated template of an environment, with some parameters changed."""
    given = dict(read_environment(ROOT / "samconfig.toml", environment).parameters) | parameters
    template = parse(PATH)
    _take_local_folders(template)
    return translated(template, **given)


def translated(template: Document, **parameters: str) -> Document:
    """Return the translation of a template whose folders are already in S3."""
    environ = {variable_name(name): value for name, value in parameters.items()}
    values = parameter_values(template, environ)
    # The translator wants a session for its region only; a real one would read ~/.aws.
    session = SimpleNamespace(region_name=REGION)
    translator = Translator({}, Parser(), boto_session=session)
    return cast("Document", translator.translate(template, dict(values))) | {"_values": values}


def _take_local_folders(template: Document) -> None:
    """Put an S3 address in place of every local folder, as `sam validate` does."""
    for kind, key in ((FUNCTION, "CodeUri"), (LAYER, "ContentUri")):
        for properties in properties_of(template, kind).values():
            folder = (ROOT / properties[key]).resolve()
            properties[key] = {"Bucket": "local", "Key": str(folder)}


def resources(document: Document, kind: str) -> Iterator[tuple[str, Document]]:
    """Yield the resources of one type, by logical id."""
    for name, resource in document["Resources"].items():
        if resource["Type"] == kind:
            yield name, resource.get("Properties", {})


def resolved(document: Document, value: Any) -> Any:
    """Return the value without intrinsic functions, for an invented account and region."""
    return Resolver(document, document["_values"]).resolve(value)


def statements(document: Document, role: str) -> set[tuple[str, str]]:
    """Return what a role's own policies allow: each action with its resource."""
    policies = document["Resources"][role]["Properties"].get("Policies", [])
    return {
        (action, str(resolved(document, resource)))
        for policy in policies
        for statement in policy["PolicyDocument"]["Statement"]
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }


def needs(document: Document, name: str) -> set[str]:
    """Return the resources that CloudFormation finishes before it begins this one."""
    resources, found, left = document["Resources"], set[str](), [name]
    while left:
        resource = resources[left.pop()]
        named = set(listed(resource.get("DependsOn", []))) | set(_references(resource))
        new = {each for each in named if each in resources} - found
        found |= new
        left += new
    return found


def _references(value: Any) -> Iterator[str]:
    """Yield what Ref, Fn::GetAtt and Fn::Sub name anywhere in `value`."""
    if isinstance(value, dict):
        if isinstance(value.get("Ref"), str):
            yield value["Ref"]
        if "Fn::GetAtt" in value:
            yield listed(value["Fn::GetAtt"])[0].partition(".")[0]
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)
    elif isinstance(value, str):
        yield from re.findall(r"\$\{(\w+)", value)


def listed(value: Any) -> list[Any]:
    """Return the value as a list, which CloudFormation lets one leave out."""
    return value if isinstance(value, list) else [value]


_WORDS = re.compile(
    r"@\w+|\b(?:fields|filter|stats|sort|limit|parse|by|as|and|or|like|desc|asc)\b"
    r"|\b(?:count|sum|pct|max|ispresent)\b"
)


def members_read(query: str) -> set[str]:
    """Return the members of log lines that a Logs Insights query reads; `a.0` is a list's first."""
    text = re.sub(r'"[^"]*"|/.*/|\b(?<!\.)\d+', " ", query)
    made = set(re.findall(r"\bas (\w+)", text)) | set(re.findall(r"\(\?<(\w+)>", query))
    return set(re.findall(r"[A-Za-z_][\w.]*", _WORDS.sub(" ", text))) - made


def counts(metric_filter: Document, line: Document) -> bool:
    """Return whether a metric filter's pattern takes a line of the log."""
    pattern = metric_filter["Properties"]["FilterPattern"].strip("{} ")
    python = re.sub(r"\$\.([\w.]+)(\[0\])?", r"_at('\1')\2", pattern)
    python = re.sub(r"(?<!!)=", "==", python).replace("&&", "and").replace("||", "or")

    def _at(path: str) -> Any:
        value: Any = line
        for member in path.split("."):
            value = value.get(member, [None]) if isinstance(value, dict) else [None]
        return value

    return bool(eval(python, {"_at": _at}))  # noqa: S307 - our own pattern
