"""`sam build` makes on every machine exactly what is deployed."""

import subprocess
from pathlib import Path

import boto3
import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.aws import REGION
from tests.routes import FUNCTIONS
from tests.running import ROOT
from tests.sam import runtime_python, sam

pytestmark = pytest.mark.campaign

# Python 3.13's magic number, then the flags of an unchecked hash (PEP 552). Such byte code is valid
# whatever times the files have, and packing changes the times.
MAGIC = (3571).to_bytes(2, "little") + b"\r\n" + (1).to_bytes(4, "little")


@pytest.fixture(scope="module")
def python() -> str:
    """Return a Python of the runtime's version, which writes the byte code."""
    return runtime_python()


@pytest.fixture(scope="module")
def built(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the artifacts, in a folder of their own."""
    assert python
    folder = tmp_path_factory.mktemp("sam build")  # a path with a blank
    result = sam("build", "--build-dir", str(folder))
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture(scope="module")
def lambdas_own(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the packages that Lambda's runtime has, for example boto3."""
    folder = tmp_path_factory.mktemp("runtime")
    requirements = ROOT / "requirements"
    install = ("pip", "install", "--quiet", "--require-hashes", "--python", python)
    subprocess.run(
        [requirements / "uv", *install, "--target", folder, "-r", requirements / "runtime.txt"],
        check=True,
    )
    return folder


def test_every_module_has_byte_code_of_the_runtime(built: Path, python: str) -> None:
    code = "import importlib.util; print(importlib.util.MAGIC_NUMBER.hex())"
    assert MAGIC[:4].hex() == subprocess.check_output([python, "-c", code], text=True).strip()
    sources = list(built.rglob("*.py"))
    assert len(sources) > 300
    for source in sources:
        compiled = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        assert compiled.read_bytes()[:8] == MAGIC, source


def test_the_migrations_and_the_specification_are_shipped(built: Path) -> None:
    assert (built / "Migrate" / "migrations" / "0001_role.sql").is_file()
    assert (built / "Docs" / "openapi.json").is_file()


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_built_handler_imports_with_nothing_but_what_is_deployed_and_lambdas_own(
    built: Path, python: str, lambdas_own: Path, function: str
) -> None:
    folders = [str(built / function), str(built / "SharedLayer" / "python"), str(lambdas_own)]
    code = f"import sys; sys.path += {folders!r}; import app; app.handler"
    environment = {
        "POWERTOOLS_METRICS_NAMESPACE": "TaskApi",
        "POWERTOOLS_SERVICE_NAME": "task-api",
        "JWT_SECRET": "a-secret-of-the-tests-with-32-bytes",
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    }
    result = subprocess.run(
        [python, "-S", "-B", "-W", "error", "-c", code],
        env=environment,
        cwd=built,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_packaging_uploads_every_artifact_and_the_template_names_them(
    built: Path, aws_endpoint: str, tmp_path: Path
) -> None:
    s3 = boto3.client("s3", endpoint_url=aws_endpoint, region_name=REGION)
    s3.create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    packaged = tmp_path / "packaged.yaml"
    result = sam(
        "package",
        *("--template-file", str(built / "template.yaml"), "--s3-bucket", "artifacts"),
        *("--output-template-file", str(packaged)),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    resources = yaml_parse(packaged.read_text())["Resources"]
    uploaded = {each["Key"] for each in s3.list_objects_v2(Bucket="artifacts")["Contents"]}
    for name in (*FUNCTIONS, "SharedLayer"):
        properties = resources[name]["Properties"]
        location = properties.get("CodeUri") or properties["ContentUri"]
        assert location.removeprefix("s3://artifacts/") in uploaded, name
