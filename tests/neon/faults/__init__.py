"""Writes under faults, and the table of what became of each: `make faults SECONDS=120`."""
