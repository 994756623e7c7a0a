"""dev, staging and prod, as samconfig.toml defines them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class DeployError(Exception):
    """The command cannot go on; the text is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One section of samconfig.toml: its name, its stack, and the parameters that it sets.

    Customers use an environment that `is_protected`: a person has to confirm what cannot be undone.
    """

    name: str
    stack: str
    parameters: Mapping[str, str]
    is_protected: bool = False

    @property
    def owner_secret(self) -> str:
        """Return the name of the secret that Migrate reads."""
        return self.parameters.get("MigrationSecret") or self.parameters["DatabaseSecret"]


def read_environment(path: Path, name: str) -> Environment:
    """Return the environment of this name. Raises DeployError when there is none."""
    document = tomllib.loads(path.read_text())
    sections = {key: value for key, value in document.items() if isinstance(value, dict)}
    settings = sections.get(name, {}).get("global", {}).get("parameters")
    if settings is None:
        known = ", ".join(key for key, value in sections.items() if "global" in value)
        raise DeployError(f"samconfig.toml has no environment {name!r}; ENV is one of {known}.")
    overrides = (each.partition("=") for each in settings["parameter_overrides"])
    return Environment(
        name,
        settings["stack_name"],
        {key: value for key, _, value in overrides},
        is_protected=settings.get("termination_protection", False),
    )
