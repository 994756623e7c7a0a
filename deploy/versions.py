"""Name each function's version after all that it consists of: `python -m deploy.versions ENV`.

CloudFormation publishes a version when its logical id changes. SAM makes that id from the text of
the template: a new tag renames the version although Lambda would publish the same one, which fails
the deployment; a new value of a parameter renames nothing, so the alias stays on the old one. This
step runs between `sam build` and `sam deploy`. It gives each function of the built template an
`AutoPublishCodeSha256`, from which SAM then makes the id. SAM also puts it into the function's
description, so Lambda always sees a change when the name has changed.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.environments import Environment, read_environment
from deploy.template import FUNCTION, LAYER, Document, Resolver, parse, properties_of

BUILT = Path(".aws-sam/build/template.yaml")
# They belong to the function or to its deployment; a published version knows nothing of them. Of
# the code, the contents count and not the place.
_NOT_IN_A_VERSION = {
    "AutoPublishAlias",
    "AutoPublishCodeSha256",
    "CodeUri",
    "DeploymentPreference",
    "EventInvokeConfig",
    "Events",
    "ReservedConcurrentExecutions",
    "Tags",
}


def resolver(template: Mapping[str, Any], values: Mapping[str, str]) -> Resolver:
    """Return what resolves the template's intrinsic functions with these parameters."""
    known = {name: given.get("Default") for name, given in template.get("Parameters", {}).items()}
    return Resolver(template, known | dict(values))


def stamp(template: Document, values: Mapping[str, str], folder: Path) -> None:
    """Set AutoPublishCodeSha256 of every function in the template.

    `values` are the parameters that the deployment sets, and `folder` is where the template's
    relative paths begin.
    """
    resolve = resolver(template, values).resolve
    shared = template.get("Globals", {}).get("Function", {})
    layers = properties_of(template, LAYER).values()
    contents = [_contents(each, "ContentUri", folder) for each in layers]
    for function in properties_of(template, FUNCTION).values():
        settings = [
            resolve({key: value for key, value in each.items() if key not in _NOT_IN_A_VERSION})
            for each in (shared, function)
        ]
        text = json.dumps(
            [settings, _contents(function, "CodeUri", folder), contents], sort_keys=True
        )
        function["AutoPublishCodeSha256"] = hashlib.sha256(text.encode()).hexdigest()


def _contents(properties: Mapping[str, Any], key: str, folder: Path) -> str:
    """Return a digest of the folder that the property names."""
    place = folder / properties[key]
    digest = hashlib.sha256()
    for path in sorted(each for each in place.rglob("*") if each.is_file()):
        digest.update(f"{path.relative_to(place)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def stamp_build(environment: Environment) -> None:
    """Stamp the built template with the parameters that samconfig.toml sets."""
    template = parse(BUILT)
    stamp(template, environment.parameters, BUILT.parent)
    BUILT.write_text(json.dumps(template, indent=1))  # JSON is YAML


if __name__ == "__main__":
    stamp_build(read_environment(Path("samconfig.toml"), sys.argv[1]))
