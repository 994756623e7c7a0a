"""Questions to the person at the terminal, or to whatever feeds standard input."""

from __future__ import annotations

import getpass
import sys

from deploy.environments import DeployError


def ask(question: str) -> str:
    """Return the next line of standard input; a terminal shows the question first."""
    if sys.stdin.isatty():
        print(question, end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def ask_secret(question: str) -> str:
    """Return the next line of standard input; a terminal does not show what is typed."""
    if sys.stdin.isatty():
        return getpass.getpass(f"{question} ").strip()
    return sys.stdin.readline().strip()


def confirm(name: str, what: str) -> None:
    """Let a person type `name` before something that cannot be undone. Raises DeployError."""
    if ask(f"{what} Type {name} to go on:") != name:
        raise DeployError(f"Nothing was changed: the answer was not {name}.")
