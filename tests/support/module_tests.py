"""Which modules a package has, and where the tests of each are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

TESTS = Path(__file__).parents[1]


def modules_of(package: ModuleType) -> list[str]:
    """Return the names of a package's public modules."""
    (folder,) = package.__path__
    return sorted(path.stem for path in Path(folder).glob("[!_]*.py"))


def has_tests(module: str, folders: Iterable[str]) -> bool:
    """Say whether one of these folders of `tests/` has a file that is named after the module."""
    return any((TESTS / folder / f"test_{module}.py").is_file() for folder in folders)
