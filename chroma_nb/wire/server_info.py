"""`ServerInfo`: what a server says of itself and of what one request may hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerInfo:
    """What answers, and its limits at this moment.

    Args:
        name: ``"chroma_nb"`` or ``"Chroma"``.
        version: Its version.
        max_batch_size: Records that one call of its store should hold.
        max_records: Records that one request may hold.
        max_body: Bytes that one request may take.
        max_values: Ids and values of filters that one request may name; None: it does not say.
        base64: It reads embeddings in base64, where they cross the wire as JSON.
        scans: It reads a collection at one version, piece by piece (`API.scan`).
    """

    name: str
    version: str
    max_batch_size: int
    max_records: int
    max_body: int
    max_values: int | None = None
    base64: bool = True
    scans: bool = False

    @property
    def ours(self) -> bool:
        """Is it chroma_nb's own server?"""
        return self.name == "chroma_nb"
