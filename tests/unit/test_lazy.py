"""Optional packages: there, missing, broken, or just being imported by another thread."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from chroma_nb.lazy import is_installed, require_extra


def test_what_is_there_and_what_is_not() -> None:
    assert is_installed("numpy")
    assert not is_installed("no_such_module")


def test_a_module_that_another_thread_is_importing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two first queries at once: "hnswlib.__spec__ is None" came out of one of them."""
    monkeypatch.setitem(sys.modules, "half_imported", ModuleType("half_imported"))
    assert is_installed("half_imported")


def test_a_module_that_is_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blocked", None)
    assert not is_installed("blocked")


def test_a_missing_package_says_what_to_install() -> None:
    with pytest.raises(ImportError, match=r'A map needs no_such_module.*"chroma-nb\[plot\]"'):
        require_extra("no_such_module", extra="plot", needed_by="A map")


def test_a_broken_package_keeps_its_own_error(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("broken")
    (folder / "broken_package.py").write_text("import what_it_needs_itself")
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(ModuleNotFoundError, match="what_it_needs_itself"):
        require_extra("broken_package", extra="plot", needed_by="A map")
