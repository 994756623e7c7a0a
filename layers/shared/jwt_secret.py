"""What makes a secret fit to sign tokens. It knows no settings and needs no database.

The authorizer refuses to start with another secret, and `make secrets` refuses to store one.
"""

from __future__ import annotations

_BYTES = 32  # RFC 7518, section 3.2: as long as HS256's hash
_DISTINCT_CHARACTERS = 8  # 32 random hexadecimal digits have fewer once in 20 million
_KEYS = ("-----BEGIN", "ssh-", "ecdsa-")


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
    if secret.lstrip().startswith(_KEYS):
        raise UnfitSecretError("is a key that others may know; a secret is random text")
    return secret
