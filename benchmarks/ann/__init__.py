"""The ways to search items inside a category, and in the whole pool, that `benchmarks/index.py` compares."""
