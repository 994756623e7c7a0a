"""The settings of tasks, and that an import of tasks uses none of them."""

from __future__ import annotations

import pytest

from neon import ConfigurationError
from tasks.orders import Sort
from tasks.settings import Settings, read


def test_what_is_not_set_has_its_default() -> None:
    assert read({}) == Settings()
    assert read({"ALLOW_OWNER_LOGIN": "", "MAX_TASKS_PER_USER": ""}) == read({})


def test_what_is_set_is_read() -> None:
    given = {
        "LIST_TIMEOUT": "0.5",
        "MAX_TASKS_PER_USER": "7",
        "MAX_KEYS_PER_USER": "8",
        "MAX_LISTS_PER_USER": "9",
        "DEFAULT_SORT": "-updated",
        "ALLOW_OWNER_LOGIN": "1",
    }
    assert read(given) == Settings(
        default_sort=Sort.UPDATED_DESCENDING,
        list_timeout=0.5,
        max_tasks_per_user=7,
        max_keys_per_user=8,
        max_lists_per_user=9,
        allow_owner_login=True,
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("LIST_TIMEOUT", text) for text in ("0", "nan", "three")),
        *(("MAX_TASKS_PER_USER", text) for text in ("1.5", "²", "2147483648")),
        ("DEFAULT_SORT", "newest"),
        ("ALLOW_OWNER_LOGIN", "yes"),
    ],
)
def test_a_bad_setting_is_one_sentence_that_names_it(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        read({name: text})
