"""What makes a secret fit to sign tokens. It knows no settings and needs no database.

The authorizer refuses to start with another secret, and `make secrets` refuses to store one.
"""

from __future__ import annotations

import base64
import binascii
import json
import re

_BYTES = 32  # RFC 7518, section 3.2: as long as HS256's hash
_DISTINCT_CHARACTERS = 8  # 32 random hexadecimal digits have fewer once in 20 million
_KEYS = ("-----BEGIN", "ssh-", "ecdsa-")
# What documentation and tutorials use; lower case, and of the phrases only the letters.
_SAMPLES = (
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",  # FastAPI
    "413f4428472b4b62506",  # Spring, with several beginnings and endings
    "aym1sysppbydfgzld3umj1qzkobwvmkoqq",  # RFC 7515, appendix A.1
)
_PHRASES = re.compile("atleast|supersecret|your(jwt|secret|super)|change(me|this|in)|betterauth")


class UnfitSecretError(ValueError):
    """The secret may be guessed or known; the text says why, and nothing of the secret."""


def check(secret: object) -> str:
    """Return a secret that is fit to sign tokens. Raise UnfitSecretError.

    >>> check("0123456789abcdef" * 2)
    '0123456789abcdef0123456789abcdef'
    >>> check("hush" * 8)
    Traceback (most recent call last):
    jwt_secret.UnfitSecretError: has to be random: it has fewer than 8 different characters
    """
    if not isinstance(secret, str) or len(secret.encode("utf-8", "replace")) < _BYTES:
        raise UnfitSecretError(f"has to be at least {_BYTES} bytes long")
    if len(set(secret)) < _DISTINCT_CHARACTERS:
        raise UnfitSecretError(
            f"has to be random: it has fewer than {_DISTINCT_CHARACTERS} different characters"
        )
    raw = _decoded(secret)
    if _is_key(secret) or _is_key(raw.decode("ascii", "ignore")) or _is_binary_key(raw):
        raise UnfitSecretError("is a key that others may know; a secret is random text")
    if secret.lstrip().lower().startswith(("http://", "https://")):
        raise UnfitSecretError("is an address, perhaps of a JWKS; a secret is random text")
    if _is_sample(secret.lower()):
        raise UnfitSecretError("is known from an example: let a program choose a random one")
    return secret


def _is_key(text: str) -> bool:
    """Tell whether the text has a key in PEM, a public key of SSH, or JSON such as a JWKS."""
    if text.lstrip().startswith(("{", "[")):
        try:
            return isinstance(json.loads(text), dict | list)
        except ValueError:
            return False
    return _KEYS[0] in text or text.lstrip().startswith(_KEYS)


def _is_binary_key(raw: bytes) -> bool:
    """Tell whether these are a key or a certificate in DER, or a public key of SSH.

    DER is one sequence, as long as it says, whose first member is a sequence or a number.
    """
    if raw[4:].startswith((b"ssh-", b"ecdsa-")):
        return True
    size = raw[1] & 127 if raw[1:2] > b"\x80" else 0  # of the length, if it is a long one
    length = int.from_bytes(raw[2 : 2 + size] if size else raw[1:2], "big")
    first = raw[2 + size : 3 + size]
    return raw[:1] == b"\x30" and len(raw) == 2 + size + length and first in (b"\x30", b"\x02")


def _decoded(text: str) -> bytes:
    """Return the bytes that a text in base64 stands for, of either alphabet; none for another."""
    letters = re.sub(r"[\s=]", "", text).translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _is_sample(text: str) -> bool:
    known = any(each in text for each in _SAMPLES)
    return known or bool(_PHRASES.search(re.sub("[^a-z]", "", text)))
