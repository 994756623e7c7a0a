"""The arguments of an endpoint, by its handler's signature: one model, validated once a request."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_type_hints

from pydantic import Field, ValidationError, create_model, field_validator
from pydantic_core import PydanticKnownError

from web.problems import ProblemError, invalid
from web.request import Request

Place = Literal["path", "query", "header", "body"]


class Parameter:
    """Where an argument is in a request, and its name there if the handler calls it otherwise.

    `rules` are the keywords of Pydantic's `Field`.
    """

    def __init__(self, place: Place, name: str = "", **rules: Any) -> None:
        self.place = place
        self.name = name
        self.rules = rules


Body = Parameter("body")


class Binding:
    """The parameters of one handler, and the place of each in a request."""

    def __init__(self, handler: Callable[..., Any]) -> None:
        # FastAPI lists errors of the body last.
        declared = dict(sorted(parameters(handler).items(), key=lambda each: each[1][1] is Body))
        fields: dict[str, Any] = {
            name: (hint, Field(default, **parameter.rules))
            for name, (hint, parameter, default) in declared.items()
        }
        numbers = [name for name, (hint, _, _) in declared.items() if hint.__origin__ is int]
        checks: dict[str, Any] = (
            {"digits": field_validator(*numbers, mode="before")(_digits)} if numbers else {}
        )
        self._model = create_model("Arguments", __validators__=checks, **fields)
        self._places = {name: _place(each, name) for name, (_, each, _) in declared.items()}
        self._used = {place for place, _ in self._places.values()}

    def arguments(self, request: Request) -> dict[str, Any]:
        """Return the handler's arguments. Raise a 422 ProblemError that lists every error."""
        given = self._given(request)
        values = {
            name: given[place][key]
            for name, (place, key) in self._places.items()
            if key in given[place]
        }
        try:
            arguments: dict[str, Any] = vars(self._model.model_validate(values))
        except ValidationError as error:
            raise self._invalid(error) from None
        return arguments

    def _given(self, request: Request) -> dict[str, Mapping[str, Any]]:
        """Return the request's values by place and name; read only the places that are used."""
        return {
            "path": request.path,
            "query": request.query if "query" in self._used else {},
            "header": request.headers,
            "body": {"": request.json} if "body" in self._used else {},
        }

    def _invalid(self, error: ValidationError) -> ProblemError:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return invalid([{**each, "loc": self._shown(each["loc"])} for each in found])

    def _shown(self, loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
        """Return the place of an error as clients know it: by the parameter's name."""
        place, key = self._places[str(loc[0])]
        return (place, *([key] if key else []), *loc[1:])


def parameters(handler: Callable[..., Any]) -> dict[str, tuple[Any, Parameter, Any]]:
    """Return each argument's type, its Parameter, and its default (or `...`)."""
    hints = get_type_hints(handler, include_extras=True)
    return {
        name: (hints[name], hints[name].__metadata__[-1], _default(each))
        for name, each in inspect.signature(handler).parameters.items()
    }


def _digits(value: object) -> object:
    """Accept digits alone for a number; Pydantic would also take signs, blanks, underscores."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise PydanticKnownError("int_parsing")
    return value


def _default(parameter: inspect.Parameter) -> Any:
    return ... if parameter.default is parameter.empty else parameter.default


def _place(parameter: Parameter, name: str) -> tuple[str, str]:
    """Return where an argument is in a request and its name there; the body has no name."""
    if parameter.place == "body":
        return "body", ""
    return parameter.place, (parameter.name or name).lower()
