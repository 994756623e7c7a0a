"""GET /health: whether a query comes back from the database."""

from tasks import ping, warm
from web import PUBLIC, Health, api


@api.get("/health", summary="Ask whether the service works", operation_id="health", security=PUBLIC)
def health() -> Health:
    """200 when the database answered a query, else 503."""
    ping()
    return Health()


handler = api
warm()
