"""How secrets are fetched, and what a rotation does."""
