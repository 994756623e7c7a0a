"""Origins, parameters, and the variables of this shell that act where nobody expects it."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from urllib.parse import urlsplit

from deploy.template import Document, TemplateError, parameter_value, parse, variable_name
from local.doctor.findings import BROKEN, FINE, HURTS, Finding, Findings, judge
from local.errors import LocalError
from local.settings import Settings, near_misses
from neon import ConfigurationError, direct_conninfo
from tasks.settings import read

_ELSEWHERE = {"CORS_ORIGINS", "DATABASE_URL", "OWNER_DATABASE_URL", "JWT_SECRET"}  # other lines
_PORTS = {"http": 80, "https": 443}
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@cache
def template() -> Document:
    """Return the template, which is read once."""
    return parse(Path("template.yaml"))


def check(settings: Settings) -> Findings:
    """Judge variables, parameters and origins, before the PG variables are taken away."""
    yield from _variables(settings)
    yield from _parameters(settings)
    yield _origins(settings)


def _origins(settings: Settings) -> Finding:
    """Judge CORS_ORIGINS by the template's rule, and find what no browser sends."""
    line = partial(judge, "origins", "CORS_ORIGINS")
    try:
        listed = parameter_value(template(), "CorsOrigins", settings.environ)
    except TemplateError as error:
        return line("", (True, BROKEN, str(error)))
    never = ", ".join(each for each in listed if each != "*" and not _is_sent(each))
    text = "no browser sends that, so it never matches: leave out the scheme's own port"
    return line(
        ", ".join(listed),
        (never, BROKEN, f"{never}: {text}."),
        ("*" in listed, HURTS, "Every page may call: list your own origins."),
    )


def _is_sent(origin: str) -> bool:
    """Tell whether a browser could send this origin: it leaves out the port of the scheme."""
    with suppress(ValueError):
        parts = urlsplit(origin)
        is_usual = parts.port == _PORTS[parts.scheme] or parts.netloc.endswith(":")
        return bool(parts.hostname) and not is_usual
    return False


def _parameters(settings: Settings) -> Findings:
    """Judge each parameter by the template's rule, and the settings of tasks by their own."""
    wrong = []
    for name in template()["Parameters"]:
        try:
            if variable_name(name) not in _ELSEWHERE:
                parameter_value(template(), name, settings.environ)
        except TemplateError as error:
            wrong.append(str(error))
    try:
        read(settings.environ)
    except ConfigurationError as error:
        wrong = wrong or [f"{error}."]
    for sentence in wrong:
        yield Finding("shell", "parameters", BROKEN, sentence)
    if not wrong:
        yield Finding("shell", "parameters", FINE, "each has a value that it may have")


def _variables(settings: Settings) -> Findings:
    """Find variables that act without a word, and names that are almost a setting's."""
    line, names = partial(judge, "shell"), sorted(os.environ)
    try:
        for sentence in near_misses(settings, "TOKEN", "ENV"):
            yield line("names", "", (True, HURTS, sentence))
    except LocalError as error:
        yield line("names", "", (True, BROKEN, str(error)))
    try:
        direct_conninfo("postgresql://nobody@localhost/none")
    except ConfigurationError as error:
        yield line("PGSERVICE", "", (True, BROKEN, f"`make migrate` stops: {error}."))
    roots = os.environ.get("SSL_CERT_FILE")
    if roots and not os.path.isfile(roots):
        text = "It names no file, so no issuer's certificate can be verified: unset it."
        yield line("SSL_CERT_FILE", "", (True, BROKEN, text))
    if proxies := [name for name in _PROXIES if os.environ.get(name)]:
        text = "The functions ask neither issuer nor database through a proxy."
        yield line("proxy", "", (True, HURTS, f"{', '.join(proxies)}: {text}"))
    ignored = ", ".join(name for name in names if name.startswith("PG"))
    yield line("PG variables", f"ignored here: {ignored}" if ignored else "none")
