"""Who is calling, as the gateway's authorizer found out."""

import time
from typing import Annotated

from fastapi import Depends, HTTPException, Path, Request
from models import NoNul

UserId = Annotated[str, Path(min_length=1, max_length=255), NoNul]


async def authorized(request: Request, user_id: UserId) -> str:
    """The caller's id, which the path has to name too."""
    context = request.scope["aws.event"]["requestContext"]
    claims = context.get("authorizer", {}).get("lambda", {})
    if not claims.get("sub") or not time.time() < float(claims.get("exp", 0)):
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        raise HTTPException(401, "Send a valid token", challenge)
    if claims["sub"] != user_id:
        raise HTTPException(403, "The token belongs to another user than the path")
    return user_id


User = Annotated[str, Depends(authorized)]
