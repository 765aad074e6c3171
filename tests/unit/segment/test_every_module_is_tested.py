"""Each module of `chroma_nb.segment` has its tests in a file of its name."""

from __future__ import annotations

import pytest

from chroma_nb import segment
from tests.support.module_tests import has_tests, modules_of

MODULES = modules_of(segment)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_a_file_of_tests(module: str) -> None:
    assert has_tests(module, ["unit/segment"]), f"There is no tests/unit/segment/test_{module}.py."


def test_the_modules_are_found() -> None:
    assert {"answers", "loaded", "manager", "writer"} <= set(MODULES)
