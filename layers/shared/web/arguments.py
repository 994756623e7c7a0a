"""The arguments of a route, by its signature: one model, made once, and one validation a request.

Powertools' own validation has a validator for each parameter and looks at every type again in
every request, which took longer than a list's query; docs/performance.md has the figures. The
specification is still what Powertools reads from the same signatures.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from aws_lambda_powertools.event_handler.openapi.params import Body
from pydantic import ConfigDict, ValidationError, create_model

from web.problems import invalid

_BODY = ("body", "")  # which has no name
_BY_NAME = ConfigDict(validate_by_name=True, validate_by_alias=False)


class Arguments:
    """What one handler takes, and where in a request each argument is.

    `has_body` says whether the request's body is one of them.
    """

    def __init__(self, handler: Callable[..., Any]) -> None:
        hints = get_type_hints(handler, include_extras=True)
        parameters = inspect.signature(handler).parameters
        fields: dict[str, Any] = {
            name: (hints[name], _default(each)) for name, each in parameters.items()
        }
        self._model = create_model("Arguments", __config__=_BY_NAME, **fields)
        self._places = {name: _place(hints[name], name) for name in parameters}
        self.has_body = _BODY in self._places.values()

    def of(self, request: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """The arguments for a request: what it gives in `path`, `query`, `header` and `body`.

        Raises a 422 Problem that lists everything that is wrong.
        """
        given = {
            name: request[where][key]
            for name, (where, key) in self._places.items()
            if key in request[where]
        }
        try:
            return dict(self._model.model_validate(given))
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise invalid([{**each, "loc": self._shown(each["loc"])} for each in found]) from None

    def _shown(self, loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
        """The place of an error as clients know it: by the parameter's name in the request."""
        where, key = self._places[str(loc[0])]
        return (where, *([key] if key else []), *loc[1:])


def _place(hint: Any, name: str) -> tuple[str, str]:
    """Where an argument is in a request, and what it is called there."""
    parameter = hint.__metadata__[-1]
    if isinstance(parameter, Body):
        return _BODY
    return parameter.in_.value, parameter.alias or name


def _default(parameter: inspect.Parameter) -> Any:
    return ... if parameter.default is parameter.empty else parameter.default
