"""Pictures: what is on them, rather than how they look."""
