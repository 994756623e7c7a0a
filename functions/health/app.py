"""GET /health: whether a query comes back from the database."""

import startup  # first of all
from tasks import ping
from web import Health, Response, answered, api


@api.get("/health", summary="Ask whether the service works", operation="health", public=True)
def health() -> Response[Health]:
    """200 when the database answered a query, else 503."""
    ping()
    return answered(Health())


handler = api
startup.finish(database=True)
