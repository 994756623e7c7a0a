"""What Lambda has of an environment: each function's versions, and which of them serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3

from deploy.environments import describe
from deploy.template import functions, parse

ALIAS = "live"
_KEPT = 3  # the version that serves, and two before it


@dataclass(frozen=True, slots=True)
class Function:
    """One function in AWS: what its versions are named and when they were made, by number.

    The alias leads to the version `serving`; the last deployment ended with `current`.
    """

    name: str
    serving: int
    current: int
    versions: Mapping[int, str]
    times: Mapping[int, datetime]

    @property
    def is_moved(self) -> bool:
        """Tell whether somebody has moved the alias since the last deployment."""
        return self.serving != self.current


def published(stack: str) -> dict[str, Function]:
    """Return a stack's functions, in the template's order; none when there is no such stack."""
    resources, client = stack_resources(stack), boto3.client("lambda")
    return {
        name: _look_up(
            client, resources[name], [id_.removeprefix(f"{name}Version") for id_ in resources]
        )
        for name in functions(parse(Path("template.yaml")))
        if name in resources
    }


def stack_resources(stack: str) -> dict[str, str]:
    """Return the names that a stack's resources have in AWS, by logical id."""
    if not describe(stack):
        return {}
    pages = boto3.client("cloudformation").get_paginator("list_stack_resources")
    return {
        each["LogicalResourceId"]: each.get("PhysicalResourceId", "")
        for page in pages.paginate(StackName=stack)
        for each in page["StackResourceSummaries"]
        if not each["ResourceStatus"].startswith("DELETE_")
    }


def _look_up(client: Any, name: str, suffixes: list[str]) -> Function:
    """Ask Lambda for a function. A version's logical id ends with what its name begins with."""
    pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
    listed = [each for page in pages for each in page["Versions"] if each["Version"] != "$LATEST"]
    versions = {int(v["Version"]): v.get("Description", "").rpartition(" ")[2] for v in listed}
    times = {int(v["Version"]): datetime.fromisoformat(v["LastModified"]) for v in listed}
    serving = int(client.get_alias(FunctionName=name, Name=ALIAS)["FunctionVersion"])
    current = [number for number, text in versions.items() if text[:10] in suffixes]
    return Function(name, serving, max(current, default=serving), versions, times)


def delete_old_versions(before: Mapping[str, Function], after: Mapping[str, Function]) -> None:
    """Delete the versions that nobody can need after a deployment.

    They are too old, or served nobody, because their deployment was rolled back. The newest one
    stays in any case: Lambda compares with it what it is to publish.
    """
    client = boto3.client("lambda")
    for logical_id, function in after.items():
        former = before[logical_id].serving if logical_id in before else 0
        served = [n for n in sorted(function.versions) if n <= former or n == function.current]
        kept = {*served[-_KEPT:], function.serving, max(function.versions)}
        for number in set(function.versions) - kept:
            client.delete_function(FunctionName=function.name, Qualifier=str(number))
