"""The OpenAPI document, generated from what the endpoints declare. No function imports this."""
