"""GET /health: whether a query comes back from the database."""

from tasks import ping, warm
from web import Health, Response, answered, api


@api.get("/health", summary="Ask whether the service works", operation="health", public=True)
def health() -> Response[Health]:
    """200 when the database answered a query, else 503."""
    ping()
    return answered(Health())


handler = api
warm()
