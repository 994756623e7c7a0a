"""What a client may change, and what null means."""

from __future__ import annotations

from datetime import date
from types import NoneType
from typing import ClassVar, get_args

from tasks.models import Task, TaskUpdate


class WithDueDay(TaskUpdate):
    """A new member that is no text and can be cleared."""

    due: date | None = None

    CLEARABLE: ClassVar[frozenset[str]] = frozenset({"due"})


class WithoutAny(TaskUpdate):
    """With no member that can be cleared."""

    CLEARABLE: ClassVar[frozenset[str]] = frozenset()


def test_null_changes_nothing_unless_the_member_can_be_cleared() -> None:
    sent = {"title": None, "description": None, "completed": None, "due": None}
    assert WithDueDay.model_validate(sent).changes() == {"due": None}
    assert WithDueDay.model_validate({}).changes() == {}


def test_every_member_that_may_be_null_can_be_cleared() -> None:
    """The empty string clears a text."""
    kinds = {name: get_args(Task.model_fields[name].annotation) for name in TaskUpdate.model_fields}
    nullable = {name for name, each in kinds.items() if NoneType in each and str not in each}
    assert nullable == TaskUpdate.CLEARABLE


def test_the_specification_says_which_members_null_clears() -> None:
    said = [model.model_json_schema()["description"] for model in (WithoutAny, WithDueDay)]
    assert said[0].endswith("; an absent or null member changes nothing.")
    assert said[1].endswith("; an absent member changes nothing, and null only clears: due.")


def test_the_empty_string_clears_a_description() -> None:
    assert TaskUpdate.model_validate({"description": ""}).changes() == {"description": ""}
