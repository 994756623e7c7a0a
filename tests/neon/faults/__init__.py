"""Writes under faults, and the account of what became of each: `make faults SECONDS=120`."""
