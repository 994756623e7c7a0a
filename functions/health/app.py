"""GET /health: whether a query comes back from the database."""

import startup
from tasks.database import ping
from web.endpoint import endpoint
from web.representations import Health, represented
from web.response import Response


@endpoint(
    "GET", "/health", operation="health", summary="Ask whether the service works", public=True
)
def handler() -> Response[Health]:
    """200 when the database answered a query, else 503."""
    ping()
    return represented(Health())


startup.finish()
