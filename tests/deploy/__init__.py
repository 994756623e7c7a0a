"""Deployment and operation, as far as they can be tested without AWS."""
