"""Chroma's import path of search expressions; they live in `chroma_nb.search`."""
