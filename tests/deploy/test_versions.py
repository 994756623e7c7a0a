"""The name of a version changes exactly when a published version would differ."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.versions import stamp
from tests.deploy.transformed import functions, resources, source, translated

Template = dict[str, Any]
Edit = Callable[[Template, dict[str, str], Path], None]

ALL = set(functions())
READ_THE_DATABASE = {
    name
    for name, properties in functions().items()
    if {"Ref": "DatabaseSecret"} in properties.get("Environment", {}).get("Variables", {}).values()
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folders of a build, each with one file."""
    for place in _places(source()):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "app.py").write_text("1")
    return tmp_path


def _places(template: Template) -> list[str]:
    properties = [each.get("Properties", {}) for each in template["Resources"].values()]
    found = [each.get("CodeUri", each.get("ContentUri")) for each in properties]
    return [place for place in found if place]


def _versions(template: Template, values: dict[str, str], folder: Path) -> dict[str, str]:
    """Return the logical id of each function's version."""
    found = resources(_translated(template, values, folder), "AWS::Lambda::Version")
    return {each["FunctionName"]["Ref"]: name for name, each in found}


def _translated(template: Template, values: dict[str, str], folder: Path) -> Template:
    """Return the template that `make deploy` hands over, translated; the addresses never change."""
    stamp(template, values, folder)
    for name, resource in template["Resources"].items():
        for key in {"CodeUri", "ContentUri"} & set(resource.get("Properties", {})):
            resource["Properties"][key] = f"s3://built/{name}"
    return translated(template, **values)


def _set(*path: str, to: Any) -> Edit:
    def edit(template: Template, _values: dict[str, str], _folder: Path) -> None:
        *parents, last = path
        place = template
        for each in parents:
            place = place.setdefault(each, {})
        place[last] = to

    return edit


def _value(**values: str) -> Edit:
    return lambda _, known, __: known.update(values)


def _write(place: str) -> Edit:
    def edit(_template: Template, _values: dict[str, str], folder: Path) -> None:
        (folder / place / "app.py").write_text("2")

    return edit


def _move(place: str) -> Edit:
    """Give the same bytes another address, as a second build of the same commit does."""

    def edit(template: Template, _values: dict[str, str], folder: Path) -> None:
        (folder / place).rename(folder / "elsewhere")
        for resource in template["Resources"].values():
            if resource.get("Properties", {}).get("CodeUri") == place:
                resource["Properties"]["CodeUri"] = "elsewhere"

    return edit


OF_LIST_TASKS = ("Resources", "ListTasks", "Properties")
OF_ALL = ("Globals", "Function")
EDITS: dict[str, tuple[Edit, set[str]]] = {
    "nothing": (lambda *_: None, set()),
    "a tag of all": (_set(*OF_ALL, "Tags", to={"team": "a"}), set()),
    "a literal reservation": (_set(*OF_LIST_TASKS, "ReservedConcurrentExecutions", to=7), set()),
    "a reservation by parameter": (_value(PublicConcurrency="20"), set()),
    "the same code from another folder": (_move("functions/list_tasks"), set()),
    "code": (_write("functions/list_tasks"), {"ListTasks"}),
    "the layer": (_write("layers/shared"), ALL),
    "a setting of one": (_set(*OF_LIST_TASKS, "Timeout", to=16), {"ListTasks"}),
    "a setting of all": (_set(*OF_ALL, "Runtime", to="python3.14"), ALL),
    "a parameter's value": (_value(DatabaseSecret="other"), READ_THE_DATABASE | {"Migrate"}),
    "a parameter's default": (
        _set("Parameters", "JwtAudience", "Default", to="b"),
        {"Authorizer", "Smoke"},
    ),
    "issuers": (_value(JwtIssuers='["' + "x" * 900 + '"]'), {"Authorizer"}),
    "processors": (_value(Architecture="arm64"), ALL),
    "what a condition decides": (_value(MigrationSecret="owner"), ALL),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_versions_name_changes_exactly_with_code_and_configuration(
    name: str, folder: Path
) -> None:
    edit, renamed = EDITS[name]
    values = {"DatabaseSecret": "database"}
    before = _versions(copy.deepcopy(source()), values, folder)
    template = copy.deepcopy(source())
    edit(template, values, folder)
    after = _versions(template, values, folder)
    assert set(before) == set(after) == ALL
    assert {each for each in ALL if before[each] != after[each]} == renamed


def test_a_new_name_comes_with_a_change_that_lambda_sees(folder: Path) -> None:
    """Otherwise PublishVersion would return the old version, and CloudFormation would fail."""
    document = _translated(copy.deepcopy(source()), {}, folder)
    (name,) = (each for each in document["Resources"] if each.startswith("ListTasksVersion"))
    description = document["Resources"]["ListTasks"]["Properties"]["Description"]
    assert name == f"ListTasksVersion{description[:10]}"
