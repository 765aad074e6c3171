"""Benchmarks of chroma_nb beside its peers: ``python -m benchmarks.run``."""
