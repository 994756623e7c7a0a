"""Benchmarks: run by hand, their tables pasted into the documents."""
