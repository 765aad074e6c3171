"""`Cmek`: a key of one's own that Chroma's cloud encrypts a collection with. A local store keeps it and does nothing with it."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chroma_nb.boundary import public_call
from chroma_nb.schema_json import is_gcp_key
from chroma_nb.words import brief


class CmekProvider(str, enum.Enum):
    """Whose key it is."""

    GCP = "gcp"


@dataclass
class Cmek:
    """A key of one's own, by its provider's name for it."""

    provider: CmekProvider
    resource: str

    @classmethod
    def gcp(cls, resource: str) -> Cmek:
        """Return a key of Google's, ``projects/.../locations/.../keyRings/.../cryptoKeys/...``."""
        return cls(CmekProvider.GCP, resource)

    def validate_pattern(self) -> bool:
        """Say whether the name has the form of the provider's names."""
        return isinstance(self.resource, str) and is_gcp_key(self.resource)

    def to_dict(self) -> dict[str, Any]:
        """Return the key as on Chroma's wire."""
        return {self.provider.value: self.resource}

    @staticmethod
    @public_call
    def from_dict(data: Mapping[str, Any]) -> Cmek:
        """Read a key from the wire's form.

        Raises:
            ValueError: It is of no provider that is known.
        """
        if isinstance(data, Mapping):
            for provider in CmekProvider:
                if provider.value in data:
                    return Cmek(provider, data[provider.value])
        raise ValueError(
            f"Unsupported or missing CMEK provider in data: {brief(data)}. Known: {CmekProvider.GCP.value}"
        )
