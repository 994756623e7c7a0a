"""A flood of requests with junk tokens, with honest clients beside it."""
