"""Name each function's version after all that it consists of: `python -m deploy.versions ENV`.

CloudFormation publishes a version when its logical id changes. SAM makes that id from the text of
the template: a new tag renames the version although Lambda would publish the same one, which fails
the deployment; a new value of a parameter renames nothing, so the alias stays on the old one. This
step runs between `sam build` and `sam deploy`. It gives each function of the built template an
`AutoPublishCodeSha256`, from which SAM then makes the id. SAM also puts it into the function's
description, so Lambda always sees a change when the name has changed. Lambda keeps what was
published: contents that come back get a name of their own.
"""

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.environments import Environment, read_environment
from deploy.published import Function, published
from deploy.template import FUNCTION, LAYER, Document, Resolver, functions, parse, properties_of

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
    "Policies",
    "ReservedConcurrentExecutions",
    "Tags",
}


def complete(template: Document, given: Mapping[str, str]) -> dict[str, str]:
    """Return a value for each parameter of the template: the given one, else the default."""
    parameters = template.get("Parameters", {})
    defaults = {name: each["Default"] for name, each in parameters.items() if "Default" in each}
    return {name: str(value) for name, value in defaults.items()} | dict(given)


def reserved_executions(template: Document, given: Mapping[str, str]) -> int:
    """Return how many executions the template's functions reserve with these parameters."""
    resolve = Resolver(template, complete(template, given)).resolve
    name = "ReservedConcurrentExecutions"
    return sum(int(resolve(each.get(name)) or 0) for each in functions(template).values())


def stamp(
    template: Document,
    given: Mapping[str, str],
    folder: Path,
    there: Mapping[str, Function] | None = None,
) -> None:
    """Set AutoPublishCodeSha256 of every function in the template.

    `given` are the parameters that the deployment sets, `folder` is where the template's relative
    paths begin, and `there` is what is published.
    """
    resolve = Resolver(template, complete(template, given)).resolve
    shared = template.get("Globals", {}).get("Function", {})
    layers = properties_of(template, LAYER).values()
    contents = [_contents(each, "ContentUri", folder) for each in layers]
    for name, function in properties_of(template, FUNCTION).items():
        settings = [
            resolve({key: value for key, value in each.items() if key not in _NOT_IN_A_VERSION})
            for each in (shared, function)
        ]
        text = json.dumps(
            [settings, _contents(function, "CodeUri", folder), contents], sort_keys=True
        )
        digest = hashlib.sha256(text.encode()).hexdigest()
        function["AutoPublishCodeSha256"] = _name(digest, (there or {}).get(name))


def _name(digest: str, function: Function | None) -> str:
    """Return the name of a version with these contents: the one that serves keeps its name.

    If another one has the same contents (its deployment was rolled back, or a later one replaced
    it), the name is new, so that Lambda publishes a version and CloudFormation moves the alias.
    """
    names = function.versions if function else {}
    same = [number for number, name in names.items() if name.endswith(digest)]
    if function and function.serving in same and not function.is_moved:
        return names[function.serving]
    return f"again{max(names)}{digest}" if same else digest


def _contents(properties: Mapping[str, Any], key: str, folder: Path) -> str:
    """Return a digest of the folder that the property names."""
    place = folder / properties[key]
    digest = hashlib.sha256()
    for path in sorted(each for each in place.rglob("*") if each.is_file()):
        digest.update(f"{path.relative_to(place)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def stamp_build(environment: Environment, there: Mapping[str, Function]) -> None:
    """Stamp the built template with the parameters that samconfig.toml sets."""
    template = parse(BUILT)
    stamp(template, environment.parameters, BUILT.parent, there)
    BUILT.write_text(json.dumps(template, indent=1))  # JSON is YAML


if __name__ == "__main__":
    chosen = read_environment(Path("samconfig.toml"), sys.argv[1])
    stamp_build(chosen, published(chosen.stack))
