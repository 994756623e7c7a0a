"""The application, who may call it, and the handler that Lambda calls."""

import json
import logging
import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from mangum import Mangum
from models import WITHOUT_NUL
from sqlalchemy import Connection, event, text
from sqlmodel import Session

UserId = Annotated[str, Path(min_length=1, max_length=255, pattern=WITHOUT_NUL)]


async def authorized(request: Request, user_id: UserId) -> str:
    """Return the caller's id, which the path must name too."""
    context = request.scope["aws.event"]["requestContext"]
    claims = context.get("authorizer", {}).get("lambda", {})
    if not claims.get("sub") or not time.time() < float(claims.get("exp", 0)):
        raise HTTPException(401, "Send a valid token")
    if claims["sub"] != user_id:
        raise HTTPException(403, "The token belongs to another user than the path")
    return user_id


User = Annotated[str, Depends(authorized)]

_ACT_AS = text(
    "SELECT set_config('role', 'rival_api', true), set_config('app.user_id', :user_id, true)"
)


@event.listens_for(Session, "after_begin")
def _act_as_the_user(session: Session, _: Any, connection: Connection) -> None:
    """Set row-level security with the first statement, so that a refused request sends none."""
    connection.execute(_ACT_AS, {"user_id": session.info["user_id"]})


logging.getLogger("mangum").setLevel(logging.WARNING)  # it logs a line for each request too

# The gateway has the six routes and nothing else, so no documentation is served from here.
app = FastAPI(title="Task API", openapi_url=None)


@app.exception_handler(RequestValidationError)
async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    """Answer 422 with what is wrong and where, without repeating what was sent."""
    detail = [{"type": e["type"], "loc": e["loc"], "msg": e["msg"]} for e in error.errors()]
    return JSONResponse({"detail": detail}, status_code=422)


def handler_of(app: FastAPI) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """Make the handler that Lambda calls; it logs one line for each request."""
    served = Mangum(app, lifespan="off")

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        started = time.perf_counter()
        answer = served(event, context)
        line = {
            "level": "INFO",
            "message": "request",
            "request_id": context.aws_request_id,
            "route": event["routeKey"],
            "status": answer["statusCode"],
            "ms": round((time.perf_counter() - started) * 1000, 1),
        }
        print(json.dumps(line), flush=True)
        return answer

    return handler
