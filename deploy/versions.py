"""Name each function's version after all that it consists of: `python -m deploy.versions ENV`.

CloudFormation publishes a version when its logical id changes. SAM makes that id from the text of
the template: a new tag renames the version although Lambda would publish the same one, which fails
the deployment; a new value of a parameter renames nothing, so the alias stays on the old one. This
step runs between `sam build` and `sam deploy`. It gives each function of the built template an
`AutoPublishCodeSha256`, from which SAM then makes the id. SAM also puts it into the function's
description, so Lambda always sees a change when the name has changed.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from samtranslator.intrinsics.resolver import IntrinsicsResolver
from samtranslator.yaml_helper import yaml_parse

from deploy.environments import Environment, read_environment

BUILT = Path(".aws-sam/build/template.yaml")
_FUNCTION, _LAYER = "AWS::Serverless::Function", "AWS::Serverless::LayerVersion"
# They belong to the function or to its deployment; a published version knows nothing of them.
_NOT_IN_A_VERSION = {
    "AutoPublishAlias",
    "AutoPublishCodeSha256",
    "DeploymentPreference",
    "EventInvokeConfig",
    "Events",
    "ReservedConcurrentExecutions",
    "Tags",
}


def stamp(template: dict[str, Any], values: Mapping[str, str], folder: Path) -> None:
    """Set AutoPublishCodeSha256 of every function in the template.

    `values` are the parameters that the deployment sets, and `folder` is where the template's
    relative paths begin.
    """
    known = {name: given.get("Default") for name, given in template.get("Parameters", {}).items()}
    resolver = IntrinsicsResolver(known | dict(values))
    shared = template.get("Globals", {}).get("Function", {})
    layers = [_contents(each, "ContentUri", folder) for each in _properties(template, _LAYER)]
    for function in _properties(template, _FUNCTION):
        settings = [
            resolver.resolve_parameter_refs(_in_a_version(each)) for each in (shared, function)
        ]
        conditions = _conditions(template, settings, resolver)
        parts = [settings, conditions, _contents(function, "CodeUri", folder), layers]
        text = json.dumps(parts, sort_keys=True)
        function["AutoPublishCodeSha256"] = hashlib.sha256(text.encode()).hexdigest()


def _properties(template: Mapping[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    for resource in template["Resources"].values():
        if resource["Type"] == kind:
            yield resource["Properties"]


def _in_a_version(properties: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in properties.items() if name not in _NOT_IN_A_VERSION}
    kept.pop("CodeUri", None)  # its contents count, not its place
    copy: dict[str, Any] = json.loads(json.dumps(kept))  # the resolver writes into what it is given
    return copy


def _conditions(
    template: Mapping[str, Any], settings: object, resolver: IntrinsicsResolver
) -> dict[str, Any]:
    """Return the resolved conditions that the settings ask by Fn::If."""
    asked = re.findall(r'"Fn::If": \["(\w+)"', json.dumps(settings))
    conditions = template.get("Conditions", {})
    copies = json.loads(json.dumps({name: conditions[name] for name in asked}))
    resolved: dict[str, Any] = resolver.resolve_parameter_refs(copies)
    return resolved


def _contents(properties: Mapping[str, Any], key: str, folder: Path) -> str:
    """Return a digest of a local folder, or the address of what has been uploaded already."""
    place = str(properties[key])
    if place.startswith("s3://"):
        return place
    digest = hashlib.sha256()
    for path in sorted(p for p in (folder / place).rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder / place)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def stamp_build(environment: Environment) -> None:
    """Stamp the built template with the parameters that samconfig.toml sets."""
    template = yaml_parse(BUILT.read_text())
    stamp(template, environment.parameters, BUILT.parent)
    BUILT.write_text(json.dumps(template, indent=1))  # JSON is YAML


if __name__ == "__main__":
    stamp_build(read_environment(Path("samconfig.toml"), sys.argv[1]))
