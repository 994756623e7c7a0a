"""Tasks: their rules and their storage, against a real Postgres and without HTTP."""
