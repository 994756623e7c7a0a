"""Whom Lambda lets this function be."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field

from secrets_manager._http import get

__all__ = ["Credentials"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Temporary credentials of the function's role."""

    key_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)

    @classmethod
    def found(cls) -> Credentials:
        """Lambda's variables; after SnapStart, which cannot have them, its endpoint.

        https://docs.aws.amazon.com/lambda/latest/dg/snapstart-activate.html. Raises KeyError
        with the missing variable's name, and OSError where the endpoint does not answer.
        """
        if uri := os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
            token = os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
            _, answer = get(uri, {"Authorization": token})
            given = json.loads(answer)
            return cls(given["AccessKeyId"], given["SecretAccessKey"], given["Token"])
        return cls(
            os.environ["AWS_ACCESS_KEY_ID"],
            os.environ["AWS_SECRET_ACCESS_KEY"],
            os.environ.get("AWS_SESSION_TOKEN", ""),
        )
