"""Chroma's import path of the kinds of configurations: dicts with these keys."""

from __future__ import annotations

from typing import Any, TypedDict


class CreateHNSWConfiguration(TypedDict, total=False):
    """What a graph is made with."""

    space: str
    ef_construction: int
    max_neighbors: int
    ef_search: int
    num_threads: int
    batch_size: int
    sync_threshold: int
    resize_factor: float


class UpdateHNSWConfiguration(TypedDict, total=False):
    """What can be changed of a graph."""

    ef_search: int
    num_threads: int
    batch_size: int
    sync_threshold: int
    resize_factor: float


class CreateSpannConfiguration(TypedDict, total=False):
    """Chroma's other index, of which only the distance has something to act on here."""

    search_nprobe: int
    write_nprobe: int
    space: str
    ef_construction: int
    ef_search: int
    max_neighbors: int
    reassign_neighbor_count: int
    split_threshold: int
    merge_threshold: int


class UpdateSpannConfiguration(TypedDict, total=False):
    """What can be changed of Chroma's other index."""

    search_nprobe: int
    ef_search: int


class CreateCollectionConfiguration(TypedDict, total=False):
    """The configuration of a new collection."""

    hnsw: CreateHNSWConfiguration | None
    spann: CreateSpannConfiguration | None
    embedding_function: Any


class UpdateCollectionConfiguration(TypedDict, total=False):
    """Changes of a configuration."""

    hnsw: UpdateHNSWConfiguration | None
    spann: UpdateSpannConfiguration | None
    embedding_function: Any


HNSWConfiguration = CreateHNSWConfiguration
SpannConfiguration = CreateSpannConfiguration
CollectionConfiguration = CreateCollectionConfiguration
