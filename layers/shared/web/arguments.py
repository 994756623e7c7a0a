"""The arguments of a route, by its signature: one model, and one validation for each request."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from pydantic import Field, ValidationError, create_model

from web.parameters import Body, Parameter
from web.problems import invalid


class Arguments:
    """What one handler takes, and where in a request each argument is.

    `has_body` says whether the request's body is one of them.
    """

    def __init__(self, handler: Callable[..., Any]) -> None:
        # As FastAPI lists what is wrong: the body last.
        declared = dict(sorted(parameters(handler).items(), key=lambda each: each[1][1] is Body))
        fields: dict[str, Any] = {
            name: (hint, Field(default, **parameter.rules))
            for name, (hint, parameter, default) in declared.items()
        }
        self._model = create_model("Arguments", **fields)
        self._places = {name: _place(each, name) for name, (_, each, _) in declared.items()}
        self.has_body = any(place == "body" for place, _ in self._places.values())

    def of(self, given: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """The arguments from what a request gives, by place and name.

        Raises a 422 Problem that lists everything that is wrong.
        """
        values = {
            name: given[place][key]
            for name, (place, key) in self._places.items()
            if key in given[place]
        }
        try:
            arguments: dict[str, Any] = vars(self._model.model_validate(values))
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise invalid([{**each, "loc": self._shown(each["loc"])} for each in found]) from None
        return arguments

    def _shown(self, loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
        """The place of an error as clients know it: by the parameter's name in the request."""
        place, key = self._places[str(loc[0])]
        return (place, *([key] if key else []), *loc[1:])


def parameters(handler: Callable[..., Any]) -> dict[str, tuple[Any, Parameter, Any]]:
    """What a handler declares: each argument's type, its Parameter, and its default (or `...`)."""
    hints = get_type_hints(handler, include_extras=True)
    return {
        name: (hints[name], hints[name].__metadata__[-1], _default(each))
        for name, each in inspect.signature(handler).parameters.items()
    }


def _default(parameter: inspect.Parameter) -> Any:
    return ... if parameter.default is parameter.empty else parameter.default


def _place(parameter: Parameter, name: str) -> tuple[str, str]:
    """Where an argument is in a request and what it is called there; the body has no name."""
    if parameter.place == "body":
        return "body", ""
    return parameter.place, (parameter.name or name).lower()
