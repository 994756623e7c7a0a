"""Origins, parameters, and the variables of this shell that act where nobody expects it."""

from __future__ import annotations

import os
from functools import partial
from urllib.parse import urlsplit

from deploy.template import TemplateError, parameter_values, parse, variable_name
from local.doctor.findings import Finding, Findings, State
from local.errors import LocalError
from local.settings import Settings, near_misses
from neon import ConfigurationError, direct_conninfo
from tasks.settings import read

_FINE, _HURTS, _BROKEN, _UNCHECKED = State
_ELSEWHERE = {
    "CORS_ORIGINS",
    "DATABASE_URL",
    "OWNER_DATABASE_URL",
    "JWT_SECRET",
}  # other lines are about these
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def origins(settings: Settings) -> Findings:
    """Judge CORS_ORIGINS by the template's rule, and find what no browser sends."""
    found = partial(Finding, "origins", "CORS_ORIGINS")
    parameter = {"CorsOrigins": parse(settings.template)["Parameters"]["CorsOrigins"]}
    try:
        listed = parameter_values({"Parameters": parameter}, settings.environ)["CorsOrigins"]
    except TemplateError as error:
        yield found(_BROKEN, str(error))
        return
    never = [each for each in listed if each != "*" and not _is_sent(each)]
    if never:
        text = "no browser sends it, so it never matches: leave out the scheme's own port."
        yield found(_BROKEN, f"{', '.join(never)}: {text}")
    elif "*" in listed:
        yield found(_HURTS, "Every page may call: list your own origins.")
    else:
        yield found(_FINE, ", ".join(listed))


def _is_sent(origin: str) -> bool:
    """Tell whether a browser could send this origin: it leaves out the port of the scheme."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    is_default = port == _DEFAULT_PORTS[parts.scheme] or parts.netloc.endswith(":")
    return bool(parts.hostname) and not is_default


def parameters(settings: Settings) -> Findings:
    """Judge each parameter of the template, and each setting of tasks."""
    wrong = []
    for name, definition in parse(settings.template)["Parameters"].items():
        if variable_name(name) not in _ELSEWHERE:
            try:
                parameter_values({"Parameters": {name: definition}}, settings.environ)
            except TemplateError as error:
                wrong.append(str(error))
    try:
        read(settings.environ)
    except ConfigurationError as error:
        wrong = wrong or [f"{error}."]
    found = partial(Finding, "shell")
    if not wrong:
        yield found("parameters", _FINE, "each has a value that it may have")
    for sentence in wrong:
        yield found("parameters", _BROKEN, sentence)


def variables(settings: Settings) -> Findings:
    """Find variables that act without a word, and names that are almost a setting's."""
    found = partial(Finding, "shell")
    lines: list[Finding] = []
    try:
        lines += [found("names", _HURTS, text) for text in near_misses(settings, "TOKEN", "ENV")]
    except LocalError as error:
        lines.append(found("names", _BROKEN, str(error)))
    if "PGSERVICE" in os.environ:
        try:
            direct_conninfo(settings.database_url or "postgresql://nobody@localhost/none")
        except ConfigurationError as error:
            lines.append(found("PGSERVICE", _BROKEN, f"`make migrate` stops: {error}."))
    if (roots := os.environ.get("SSL_CERT_FILE")) and not os.path.isfile(roots):
        text = "It names no file, so no certificate of an issuer can be verified: unset it."
        lines.append(found("SSL_CERT_FILE", _BROKEN, text))
    for name in _PROXIES:
        if os.environ.get(name):
            text = "Neither the JWKS nor the database is asked through a proxy."
            lines.append(found(name, _HURTS, text))
    ignored = sorted(each for each in os.environ if each.startswith("PG") and each != "PGSERVICE")
    if ignored:
        lines.append(found("PG variables", _FINE, f"{', '.join(ignored)}: this API ignores them"))
    yield from lines or [found("variables", _FINE, "none of them acts here")]
