"""The application, and the handler that Lambda calls with its six routes."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from mangum import Mangum


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"level": record.levelname, "message": record.getMessage()}
        return json.dumps(line | getattr(record, "said", {}))


def _logger() -> logging.Logger:
    logger = logging.getLogger("api")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_OneLine())
    logger.addHandler(handler)
    logger.setLevel(os.environ.get("LOG_LEVEL", "INFO"))
    logger.propagate = False
    logging.getLogger("mangum").setLevel(logging.WARNING)  # it has a line for each request, too
    return logger


logger = _logger()

# The gateway lets the six routes through and nothing else: no documentation is served from here.
app = FastAPI(title="Task API", openapi_url=None)


@app.exception_handler(RequestValidationError)
async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    """422 with what is wrong and where, without repeating what was sent."""
    detail = [{"type": e["type"], "loc": e["loc"], "msg": e["msg"]} for e in error.errors()]
    return JSONResponse({"detail": detail}, status_code=422)


def handler_of(app: FastAPI) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """What Lambda calls; it logs one line a request."""
    served = Mangum(app, lifespan="off")

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        started = time.perf_counter()
        answer = served(event, context)
        said = {
            "request_id": context.aws_request_id,
            "route": event["routeKey"],
            "status": answer["statusCode"],
            "ms": round((time.perf_counter() - started) * 1000, 1),
        }
        logger.info("request", extra={"said": said})
        return answer

    return handler
