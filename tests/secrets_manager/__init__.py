"""How secrets are fetched."""
