"""What a container gives a function: the layer, its byte code, the memory, the file systems."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from local.sam import docker
from local.sam.commands import IMAGE, Sam, sam_local
from local.settings import read_settings
from local.template import read_template
from tests.contract.client import Client, problem
from tests.routes import FUNCTIONS
from tests.running import ROOT
from tests.sam_local.conftest import SECRET, SHELL, Api

pytestmark = pytest.mark.campaign

ENVIRON = {"DATABASE_URL": "postgresql://nobody@localhost/none", "JWT_SECRET": SECRET}
TEMPLATE = read_template(ROOT / "template.yaml", ENVIRON)
PYTHON = "/var/lang/bin/python3.13"
# They have the layer for the code that fetches a secret; it is imported if a secret is named.
_WITHOUT_THE_LAYER = {"Authorizer", "Smoke"}
_WRITE = "open('/var/task/written', 'w')"


def test_every_function_has_a_container(containers: dict[str, str]) -> None:
    assert set(containers) == set(FUNCTIONS)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_nothing_is_compiled_at_import(containers: dict[str, str], function: str) -> None:
    environment = ("--env=PYTHONPATH=/opt/python:/var/runtime", "--workdir=/var/task")
    command = f"{PYTHON} -B -v -c 'import app; app.handler' 2>&1"
    output = docker.ask("exec", *environment, containers[function], "sh", "-c", command)
    # Python quotes the path of byte code, but not the path of a source that it compiles.
    ours = re.findall(r"^# code object from '?(/(?:opt|var/task)/[^']+)", output, re.MULTILINE)
    assert ours
    assert [path for path in ours if not path.endswith(".cpython-313.pyc")] == []
    if function not in _WITHOUT_THE_LAYER:
        assert len([path for path in ours if path.startswith("/opt/python/")]) > 50


def test_a_function_has_the_templates_variables_whatever_the_shell_has(
    containers: dict[str, str],
) -> None:
    def variables(function: str) -> dict[str, str]:
        found = docker.ask("inspect", "-f", "{{json .Config.Env}}", containers[function])
        return dict(each.split("=", 1) for each in json.loads(found))

    for function in containers:
        assert not set(variables(function).values()) & set(SHELL.values()), function
    assert variables("Authorizer")["JWT_SECRET"] == SECRET
    assert variables("CreateTask")["DATABASE_URL"].startswith("postgresql://postgres@localhost:")


def test_sam_finds_no_credentials(sam: Sam, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    keys = "aws_access_key_id = AKIA\naws_secret_access_key = secret\n"
    (tmp_path / ".aws" / "credentials").write_text(f"[default]\n{keys}")
    (tmp_path / ".boto").write_text(f"[Credentials]\n{keys}")
    code = "import boto3; print(boto3.Session().get_credentials())"
    python = ROOT / ".venv-sam" / "bin" / "python"
    environ = {**sam.environ, "HOME": str(tmp_path)}
    assert subprocess.check_output([python, "-c", code], env=environ, text=True) == "None\n"


def test_the_memory_of_the_template_is_the_containers_limit(containers: dict[str, str]) -> None:
    for name, container in containers.items():
        limit = docker.ask("inspect", "-f", "{{.HostConfig.Memory}}", container)
        assert int(limit) == TEMPLATE.functions[name].memory * 1024 * 1024


def test_a_function_that_takes_more_memory_is_ended(containers: dict[str, str]) -> None:
    inside = ("exec", containers["Migrate"], PYTHON, "-c")
    assert docker.succeeds(*inside, "bytearray(200 << 20)")
    assert not docker.succeeds(*inside, "bytearray(3000 << 20)")


def test_a_functions_code_is_read_only(containers: dict[str, str]) -> None:
    inside = ("exec", containers["CreateTask"], PYTHON, "-c")
    assert docker.succeeds(*inside, "open('/tmp/written', 'w')")
    code = (
        f"import errno\ntry: {_WRITE}\nexcept OSError as error: print(error.errno == errno.EROFS)"
    )
    assert docker.ask(*inside, code) == "True"


def test_functions_write_nowhere_but_to_tmp(api: Api, containers: dict[str, str]) -> None:
    client = Client(api.url, SECRET)
    task = client.create()
    client.send("PUT", client.path(task["id"]), json={"title": "Another"})
    client.send("GET", client.path(task["id"]))
    client.send("GET", "/docs")
    for function, container in containers.items():
        changes = docker.ask("diff", container).splitlines()
        places = {change.split(" ", 1)[1] for change in changes}
        written = {place for place in places if place != "/tmp" and place[:5] != "/tmp/"}  # noqa: S108
        assert written <= {"/opt", "/var", "/var/task"}, function  # where SAM mounts the code


def test_no_container_is_left_whatever_sam_leaves(
    sam: Sam, tmp_path: Path, database_url: str
) -> None:
    (tmp_path / "Function").mkdir()
    given = {"DATABASE_URL": database_url, "JWT_SECRET": SECRET}
    image = sam.options[-1] if "--invoke-image" in sam.options else IMAGE
    settings = read_settings(ROOT, {**given, "SAM_OPTIONS": f"--invoke-image {image}"})
    with sam_local(settings, tmp_path):
        mount = f"--volume={tmp_path / 'Function'}:/var/task"
        container = docker.ask("run", "--detach", "--entrypoint=sleep", mount, image, "1000")
    assert not docker.succeeds("inspect", container)


def test_identity_comes_from_the_authorizers_container(
    api: Api, containers: dict[str, str]
) -> None:
    def asked() -> int:
        return docker.ask("logs", containers["Authorizer"]).count("START RequestId")

    alice, before = Client(api.url, SECRET), asked()
    assert alice.send("GET", alice.path()).status_code == 200
    problem(alice.send("GET", alice.path(user="bob")), 403)
    problem(alice.send("GET", alice.path(), headers={"Authorization": "Bearer a.b.c"}), 401)
    missing = alice.send("GET", alice.path(), headers={"Authorization": None})
    assert (missing.status_code, json.loads(missing.text)) == (401, {"message": "Unauthorized"})
    assert asked() == before + 3  # without it nobody asks the authorizer; SAM caches nothing
