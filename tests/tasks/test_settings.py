"""The settings of tasks, and that an import of tasks uses none of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from neon import ConfigurationError
from tasks.orders import Sort
from tasks.settings import Settings, read
from tests.running import ROOT


def test_what_is_not_set_has_its_default() -> None:
    assert read({}) == Settings()
    assert read({"ALLOW_OWNER_LOGIN": "", "MAX_TASKS_PER_USER": ""}) == read({})


def test_what_is_set_is_read() -> None:
    given = {
        "LIST_TIMEOUT": "0.5",
        "MAX_TASKS_PER_USER": "7",
        "MAX_KEYS_PER_USER": "8",
        "DEFAULT_SORT": "-updated",
        "ALLOW_OWNER_LOGIN": "1",
    }
    assert read(given) == Settings(Sort.UPDATED_DESCENDING, 0.5, 7, 8, True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("LIST_TIMEOUT", text) for text in ("0", "-1", "11", "nan", "inf", "three")),
        *(("MAX_TASKS_PER_USER", text) for text in ("0", "-1", "1.5", "1_0", "²", "2147483648")),
        ("MAX_KEYS_PER_USER", "many"),
        ("DEFAULT_SORT", "newest"),
        ("ALLOW_OWNER_LOGIN", "yes"),
    ],
)
def test_a_bad_setting_is_one_sentence_that_names_it(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        read({name: text})


def test_importing_tasks_opens_nothing_and_changes_nothing() -> None:
    code = """
import gc, threading
import tasks.store
from tasks.database import database
assert gc.isenabled() and gc.get_freeze_count() == 0
assert threading.active_count() == 1
assert database.cache_info().currsize == 0
"""
    environment = {
        "PYTHONPATH": str(ROOT / "layers" / "shared"),
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1",
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
    }
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
