"""The OpenAPI document, generated from the endpoints, and the routes of template.yaml.

No function imports this.
"""

from pathlib import Path
from typing import NamedTuple

from deploy import template

ROOT = Path(__file__).resolve().parents[2]


class Route(NamedTuple):
    """A route of template.yaml, and the folder of its function."""

    folder: str
    method: str
    path: str
    public: bool

    @property
    def key(self) -> str:
        """The route as its events name it."""
        return f"{self.method} {self.path}"


def routes() -> list[Route]:
    """Return every route of template.yaml, in its order."""
    document = template.parse(ROOT / "template.yaml")
    folders = template.functions(document)
    return [
        Route(
            folders[each.function]["CodeUri"].removeprefix("functions/"),
            each.method,
            each.path,
            each.authorizer is None,
        )
        for each in template.routes(document)
    ]
