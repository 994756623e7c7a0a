"""What a container gives a function: the layer, its byte code, the memory, the file systems."""

import json
import re

import pytest

from local.sam.commands import Sam
from local.template import read_template
from tests.contract.client import Client, problem
from tests.running import ROOT
from tests.sam_local.conftest import SECRET, Api
from tests.test_template import FUNCTIONS

ENVIRON = {"DATABASE_URL": "postgresql://nobody@localhost/none", "JWT_SECRET": SECRET}
TEMPLATE = read_template(ROOT / "template.yaml", ENVIRON)
PYTHON = "/var/lang/bin/python3.13"
_WRITE = "open('/var/task/written', 'w')"


@pytest.fixture(scope="session")
def containers(sam: Sam, api: Api) -> dict[str, str]:
    """A running container of each function, by the function's name."""
    assert api
    label = '{{.ID}} {{.Label "sam.cli.function.name"}}'
    lines = sam.docker.ask("ps", "--no-trunc", "--format", label).splitlines()
    return {name: container for container, _, name in (line.partition(" ") for line in lines)}


def test_every_function_has_a_container(containers: dict[str, str]) -> None:
    assert set(containers) == set(FUNCTIONS)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_nothing_is_compiled_at_import(sam: Sam, containers: dict[str, str], function: str) -> None:
    environment = ("--env=PYTHONPATH=/opt/python:/var/runtime", "--workdir=/var/task")
    command = f"{PYTHON} -B -v -c 'import app; app.handler' 2>&1"
    output = sam.docker.ask("exec", *environment, containers[function], "sh", "-c", command)
    # Python puts the path of byte code in quotes, that of a source which it compiles not.
    ours = re.findall(r"^# code object from '?(/(?:opt|var/task)/[^']+)", output, re.MULTILINE)
    assert ours
    assert [path for path in ours if not path.endswith(".cpython-313.pyc")] == []
    if function not in ("Authorizer", "Smoke"):  # these import nothing of the layer
        assert len([path for path in ours if path.startswith("/opt/python/")]) > 50


def test_the_memory_of_the_template_is_the_containers_limit(
    sam: Sam, containers: dict[str, str]
) -> None:
    for name, container in containers.items():
        limit = sam.docker.ask("inspect", "-f", "{{.HostConfig.Memory}}", container)
        assert int(limit) == TEMPLATE.functions[name].memory * 1024 * 1024


def test_a_function_that_takes_more_memory_is_ended(sam: Sam, containers: dict[str, str]) -> None:
    inside = ("exec", containers["Migrate"], PYTHON, "-c")
    assert sam.docker.succeeds(*inside, "bytearray(200 << 20)")
    assert not sam.docker.succeeds(*inside, "bytearray(3000 << 20)")


def test_a_functions_code_is_read_only(sam: Sam, containers: dict[str, str]) -> None:
    inside = ("exec", containers["CreateTask"], PYTHON, "-c")
    assert sam.docker.succeeds(*inside, "open('/tmp/written', 'w')")
    code = (
        f"import errno\ntry: {_WRITE}\nexcept OSError as error: print(error.errno == errno.EROFS)"
    )
    assert sam.docker.ask(*inside, code) == "True"


def test_functions_write_nowhere_but_to_tmp(sam: Sam, api: Api, containers: dict[str, str]) -> None:
    client = Client(api.url, SECRET)
    task = client.create()
    client.send("PUT", client.path(task["id"]), json={"title": "Another"})
    client.send("GET", client.path(task["id"]))
    client.send("GET", "/docs")
    for function, container in containers.items():
        changes = sam.docker.ask("diff", container).splitlines()
        places = {change.split(" ", 1)[1] for change in changes}
        written = {place for place in places if place != "/tmp" and place[:5] != "/tmp/"}  # noqa: S108
        assert written <= {"/opt", "/var", "/var/task"}, function  # where SAM mounts


def test_identity_comes_from_the_authorizers_container(
    sam: Sam, api: Api, containers: dict[str, str]
) -> None:
    def asked() -> int:
        return sam.docker.ask("logs", containers["Authorizer"]).count("START RequestId")

    alice, before = Client(api.url, SECRET), asked()
    assert alice.send("GET", alice.path()).status_code == 200
    problem(alice.send("GET", alice.path(user="bob")), 403)
    problem(alice.send("GET", alice.path(), headers={"Authorization": "Bearer a.b.c"}), 401)
    missing = alice.send("GET", alice.path(), headers={"Authorization": None})
    assert (missing.status_code, json.loads(missing.text)) == (401, {"message": "Unauthorized"})
    assert asked() == before + 3  # without the header it is not asked; SAM caches nothing
