"""Segments: what is in memory of each collection, and how a query is answered from it."""
