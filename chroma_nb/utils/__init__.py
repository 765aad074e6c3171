"""Chroma's import paths: `utils.embedding_functions` and `utils.batch_utils`."""

from __future__ import annotations
