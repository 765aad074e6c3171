"""Which tests want the machine for themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
#: Folders whose tests measure time or memory, or use every core.
ALONE = {"browser", "display", "lessons", "memory", "packaging", "server"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(TESTS) and item.path.relative_to(TESTS).parts[0] in ALONE:
            item.add_marker(pytest.mark.alone)
