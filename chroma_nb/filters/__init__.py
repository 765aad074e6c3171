"""Filters: one expression tree, compiled to NumPy masks and to SQL."""
