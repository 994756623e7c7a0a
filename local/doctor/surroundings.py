"""Parameters, origins, and variables of this shell whose names are almost a setting's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path

from deploy.template import Document, TemplateError, parameter_value, parse, variable_name
from local.doctor.findings import BROKEN, HURTS, Finding, Findings, judge
from local.settings import Settings, near_misses

_ELSEWHERE = {"CORS_ORIGINS", "DATABASE_URL", "OWNER_DATABASE_URL", "JWT_SECRET"}  # other lines


@cache
def template() -> Document:
    """Return the template, which is read once."""
    return parse(Path("template.yaml"))


def check(settings: Settings) -> Findings:
    """Judge names, parameters and origins. Raise LocalError for a name that make was given."""
    for sentence in near_misses(settings, "TOKEN", "ENV"):
        yield Finding("shell", "names", HURTS, sentence)
    wrong = " ".join(_refusals(settings.environ))
    fine = "each has a value that it may have"
    yield judge("shell", "parameters", fine, (wrong, BROKEN, wrong))
    yield _origins(settings.environ)


def _refusals(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield what the template's rules say about parameters that no other line is about."""
    for name in template()["Parameters"]:
        try:
            if variable_name(name) not in _ELSEWHERE:
                parameter_value(template(), name, environ)
        except TemplateError as error:
            yield str(error)


def _origins(environ: Mapping[str, str]) -> Finding:
    line = partial(judge, "origins", "CORS_ORIGINS")
    try:
        listed = parameter_value(template(), "CorsOrigins", environ)
    except TemplateError as error:
        return line("", (True, BROKEN, str(error)))
    everybody = "Every page may call: list your own origins."
    return line(", ".join(listed), ("*" in listed, HURTS, everybody))
