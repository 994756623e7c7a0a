"""Functions in processes of their own: as deployed, and as many as are needed."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import psutil
import pytest

from tests.local.toy import Gate, Toy, message


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    """Run a pool of threads for requests that take their time."""
    with ThreadPoolExecutor(32) as pool:
        yield pool


def test_a_function_sees_the_variables_of_lambda_and_of_the_template_alone(toy: Toy) -> None:
    seen = toy.work("answer = dict(os.environ)").json()
    assert seen["GREETING"] == "hello, you"
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == "Work"
    assert seen["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert seen["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.13"
    assert seen["TZ"] == ":UTC"
    assert not {"MINE", "AWS_PROFILE", "HOME", "PORT", "VIRTUAL_ENV"} & seen.keys()
    context = "[context.invoked_function_arn, context.get_remaining_time_in_millis()]"
    arn, remaining = toy.work(f"answer = {context}").json()
    assert arn == "arn:aws:lambda:us-east-1:123456789012:function:Work"
    assert 15_000 < remaining <= 20_000


def test_a_function_imports_from_its_layer_and_its_dependencies(toy: Toy) -> None:
    answer = toy.work("import greeting, jwt; answer = [greeting.WORD, jwt.__file__, os.getcwd()]")
    word, dependency, here = answer.json()
    assert word == "from the layer"
    assert f"{toy.folder}/.local/packages/layer-" in dependency
    assert here == str(toy.folder / "functions/worker")


@pytest.mark.parametrize(
    ("path", "modules"),
    [("/work", ["psycopg", "aiohttp", "pytest", "local"]), ("/short", ["greeting", "jwt"])],
    ids=["with the layer", "without it"],
)
def test_a_module_that_was_not_deployed_cannot_be_imported(
    toy: Toy, path: str, modules: list[str]
) -> None:
    code = f"import importlib.util as u; answer = [m for m in {modules} if u.find_spec(m)]"
    assert toy.work(code, path).json() == []


def test_a_busy_function_starts_another_environment_and_does_not_block_others(
    toy: Toy, gate: Gate, background: ThreadPoolExecutor
) -> None:
    busy = background.submit(toy.work, f"{gate.code}; answer = os.getpid()")
    gate.wait_for(1)
    other = toy.work("answer = os.getpid()").json()
    assert toy.get("/echo/a").status_code == 200
    gate.open()
    assert isinstance(other, int)
    assert isinstance(busy.result().json(), int)
    assert busy.result().json() != other


def test_a_request_takes_whichever_environment_is_free_first(
    toy: Toy, gate: Gate, background: ThreadPoolExecutor
) -> None:
    busy = [background.submit(toy.work, gate.code) for _ in range(2)]  # the limit of this API
    gate.wait_for(2)
    waiting = [background.submit(toy.work, "pass") for _ in range(20)]
    gate.open()
    assert [_status(each) for each in [*busy, *waiting]] == [200] * 22


def test_a_function_that_takes_too_long_is_ended_with_its_children(toy: Toy, gate: Gate) -> None:
    child = "import subprocess; child = subprocess.Popen(['sleep', '1000'])"
    processes = toy.work(f"{child}; answer = [os.getpid(), child.pid]", "/short").json()
    assert message(toy.work(gate.code, "/short")) == (500, "Internal Server Error")
    for process in processes:
        _wait_for_end(process)
    assert toy.work("answer = os.getpid()", "/short").json() not in processes


@pytest.mark.parametrize(
    "code",
    [
        "1 / 0",
        "sys.exit(0)",
        "answer = object()",
        "os.close(1); os.close(2); os._exit(0)",
    ],
)
def test_a_function_that_fails_is_500_and_the_next_request_is_not(toy: Toy, code: str) -> None:
    assert message(toy.work(code)) == (500, "Internal Server Error")
    assert toy.work("pass").status_code == 200
    assert message(toy.get("/broken")) == (500, "Internal Server Error")


def test_a_stranger_gets_no_event_and_answers_none(toy: Toy) -> None:
    """A page of another origin and other accounts reach every port of loopback."""
    process, api = toy.work("answer = [os.getpid(), os.environ['AWS_LAMBDA_RUNTIME_API']]").json()
    runtime = f"http://{api}/2018-06-01/runtime"
    assert httpx.get(f"{runtime}/invocation/next").status_code == 403
    for path in ("invocation/1/response", "invocation/1/error", "init/error"):
        assert httpx.post(f"{runtime}/{path}", json={"statusCode": 418}).status_code == 403
    assert toy.work("answer = os.getpid()").json() == process


def _wait_for_end(process: int) -> None:
    if psutil.pid_exists(process):
        _, alive = psutil.wait_procs([psutil.Process(process)], timeout=10)
        assert not alive


def _status(answer: Future[httpx.Response]) -> int:
    return answer.result().status_code
