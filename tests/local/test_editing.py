"""An edit of code, of the layer, or of the template takes effect on the next request."""

import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg

from local.postgres import Postgres
from tests.local.toy import SECRET, environment, message, served
from tests.running import ROOT, running

Edit = Callable[[str, str, str], None]
WORD = "import greeting; answer = greeting.WORD"


def test_edited_code_runs_on_the_next_request(folder: Path) -> None:
    with served(folder) as toy:
        assert toy.work(WORD).text == "from the layer"
        for word in ("FROM THE LAYER", "From The Layer"):  # same length, same second
            (folder / "layers/shared/greeting.py").write_text(f'WORD = "{word}"\n')
            assert toy.work(WORD).text == word
        assert message(toy.get("/broken")) == (500, "Internal Server Error")
        (folder / "functions/broken/app.py").write_text("def handler(event, context): return 1\n")
        assert toy.get("/broken").text == "1"


def test_an_edited_authorizer_is_asked_again(folder: Path, edit: Edit) -> None:
    guard = "      CodeUri: functions/guard\n"
    with served(folder) as toy:
        assert toy.get("/who", authorization="me").status_code == 200
        edit("functions/guard/app.py", 'token != "no"', '"OPEN" in __import__("os").environ')
        assert message(toy.get("/who", authorization="me")) == (403, "Forbidden")
        edit("template.yaml", guard, f"{guard}      Environment: {{Variables: {{OPEN: yes}}}}\n")
        assert toy.get("/who", authorization="me").status_code == 200


def test_an_edited_template_changes_routes_and_environment(folder: Path, edit: Edit) -> None:
    with served(folder) as toy:
        greeting = "answer = os.environ['GREETING']"
        assert toy.work(greeting).text == "hello, you"
        edit("template.yaml", '!Sub "${Greeting}, you"', "changed")
        edit("template.yaml", "Path: /who", "Path: /whoever")
        assert toy.work(greeting).text == "changed"
        assert toy.get("/who").status_code == 404
        assert toy.get("/whoever").status_code == 401
        edit("template.yaml", "Resources:", "Resources: [")  # what was before it stays in use
        assert toy.get("/whoever").status_code == 401


def test_a_new_migration_is_applied_on_the_next_request(tmp_path: Path, packages: Path) -> None:
    for name in ("template.yaml", "layers", "requirements"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "functions", tmp_path / "functions")
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local/packages").symlink_to(packages)
    migrations = tmp_path / "functions/migrate/migrations"
    number = max(int(path.name[:4]) for path in migrations.glob("*.sql")) + 1
    with running({**environment({}), "JWT_SECRET": SECRET}, tmp_path) as api:
        (migrations / f"{number:04}_mood.sql").write_text("CREATE TABLE public.mood ();\n")
        assert httpx.get(f"{api.url}/health", timeout=30).status_code == 200
        with psycopg.connect(Postgres(tmp_path / ".local/postgres").url) as connection:
            assert connection.execute("SELECT FROM mood").fetchall() == []
        (migrations / f"{number + 1:04}_wrong.sql").write_text("CREATE nonsense;\n")
        assert httpx.get(f"{api.url}/health", timeout=30).status_code == 200
