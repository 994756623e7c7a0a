"""Tasks: their rules and their storage, on a real Postgres and without HTTP."""
