"""The generator of the specification, with an endpoint that the API does not have."""

import json
import os
import runpy
import subprocess
import sys

import pytest

from local.specification.document import _links
from tasks.models import Task
from tests.functions.handlers import Context
from tests.running import ROOT
from web.endpoint import endpoint
from web.parameters import TaskId, UserId
from web.response import Response


def test_an_exported_setting_does_not_reach_the_generated_specification() -> None:
    command = [sys.executable, "-m", "local.specification", "--check"]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"DEFAULT_SORT": "-title"}, check=True)


@pytest.mark.parametrize(("set_to", "shown"), [("-title", "-title"), ("", "created")])
def test_the_served_specification_shows_the_default_that_is_set(
    monkeypatch: pytest.MonkeyPatch, set_to: str, shown: str
) -> None:
    monkeypatch.setenv("DEFAULT_SORT", set_to)
    handler = runpy.run_path(str(ROOT / "functions" / "docs" / "app.py"))["handler"]
    response = handler({"routeKey": "GET /openapi.json"}, Context())
    parameters = json.loads(response["body"])["paths"]["/api/{user_id}/tasks"]["get"]["parameters"]
    defaults = {each["name"]: each["schema"].get("default") for each in parameters}
    assert (defaults["sort"], defaults["status"], defaults["user_id"]) == (shown, "all", None)


def test_a_new_task_links_to_every_operation_that_takes_its_id() -> None:
    @endpoint("PATCH", "/api/{user_id}/tasks/{task_id}/copy", operation="copyTask", summary="")
    def copy(user_id: UserId, task_id: TaskId) -> Response[Task]:
        raise NotImplementedError

    assert _links([copy])["copyTask"]["operationId"] == "copyTask"
