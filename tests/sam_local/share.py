"""A pytest plugin that runs one share of the tests: SHARE=0/8 is the first of eight."""

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep every n-th test."""
    number, shares = map(int, os.environ["SHARE"].split("/"))
    items[:] = items[number::shares]
