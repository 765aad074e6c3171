"""`AdminClientAPI`: the tenants and databases of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb import factories, validation
from chroma_nb.boundary import public_class
from chroma_nb.client.connection import Connection
from chroma_nb.types import DEFAULT_TENANT

if TYPE_CHECKING:
    from chroma_nb.settings import Settings


@public_class
class AdminClientAPI(Connection):
    """Makes and lists tenants and databases of a store.

    Args:
        settings: As for `Client`.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(factories.get_settings() if settings is None else settings)

    def create_tenant(self, name: str) -> None:
        """Add a tenant; `UniqueConstraintError` if it exists."""
        validation.check_tenant_name(name)
        self.api.create_tenant(name)

    def get_tenant(self, name: str) -> dict[str, Any]:
        """Return ``{"name": ...}``; `NotFoundError` where there is none."""
        return {"name": self.api.get_tenant(name)}

    def create_database(self, name: str, tenant: str = DEFAULT_TENANT) -> None:
        """Add a database; `UniqueConstraintError` if it exists."""
        validation.check_database_name(name)
        self.api.create_database(name, tenant)

    def get_database(self, name: str, tenant: str = DEFAULT_TENANT) -> dict[str, Any]:
        """Return ``{"id", "name", "tenant"}``; `NotFoundError` where there is none."""
        return {"id": self.api.get_database(name, tenant), "name": name, "tenant": tenant}

    def delete_database(self, name: str, tenant: str = DEFAULT_TENANT) -> None:
        """Delete a database with all its collections."""
        self.api.delete_database(name, tenant)

    def list_databases(
        self, limit: int | None = None, offset: int | None = None, tenant: str = DEFAULT_TENANT
    ) -> list[dict[str, Any]]:
        """Return ``{"id", "name", "tenant"}`` of each database, in order of creation."""
        limit, offset = validation.check_limit_offset(limit, offset)
        found = self.api.list_databases(tenant, limit, offset or 0)
        return [{"id": key, "name": name, "tenant": tenant} for key, name in found]
