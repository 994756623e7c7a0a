"""What an endpoint may take: a required query parameter, and times."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import pytest

from tasks.models import Time
from tasks.paging import PageRequest
from tests.functions.handlers import Context, event, modules
from web.binding import Parameter, parameters
from web.endpoint import endpoint
from web.parameters import UserId
from web.response import Response

PATH = "/api/{user_id}/changes"
TAKEN: list[datetime] = []


@endpoint("GET", PATH, operation="listChanges", summary="List changes")
def changes(
    user_id: UserId, since: Annotated[Time, Parameter("query", description="From when on.")]
) -> Response[Any]:
    """Keep what was taken."""
    TAKEN.append(since)
    return Response(200, None, user_id)


def test_a_list_takes_all_that_a_page_can_be_asked_for() -> None:
    declared = parameters(modules("list_tasks")["app"].handler.function)
    taken = [name for name, (_, parameter, _) in declared.items() if parameter.place == "query"]
    assert sorted(taken) == sorted(PageRequest._fields)


def _asked(**query: str) -> dict[str, Any]:
    request = event("GET", PATH, user="alice") | {"rawQueryString": urlencode(query)}
    return changes(request, Context())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["2026-11-21t09:30:00z", "2026-11-21T04:00:00.000000-05:30"],
)
def test_a_time_with_its_offset_is_taken_in_utc(text: str) -> None:
    assert _asked(since=text)["statusCode"] == 200
    assert TAKEN[-1] == datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    assert TAKEN[-1].tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T09:30:00",
        "2026-02-30T09:30:00Z",
        "0001-01-01T00:00:00+14:00",
        "1795253400",
        None,
    ],
)
def test_a_required_time_that_is_absent_or_another_text_is_422(text: str | None) -> None:
    response = _asked() if text is None else _asked(since=text)
    (error,) = json.loads(response["body"])["detail"]
    assert response["statusCode"] == 422
    assert error["type"] == ("missing" if text is None else "time_rfc3339")
    assert error["loc"] == ["query", "since"]
