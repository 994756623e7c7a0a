"""GET /health: whether a query comes back from the database."""

from aws_lambda_powertools.event_handler import Response

from tasks import ping, warm
from web import PUBLIC, Health, answered, api


@api.get("/health", summary="Ask whether the service works", operation_id="health", security=PUBLIC)
def health() -> Response[Health]:
    """200 when the database answered a query, else 503."""
    ping()
    return answered(Health())


handler = api
warm()
