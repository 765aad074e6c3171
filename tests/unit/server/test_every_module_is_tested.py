"""Each module of `chroma_nb.server` has its tests in a file of its name."""

from __future__ import annotations

import pytest

from chroma_nb import server
from tests.support.module_tests import has_tests, modules_of

FOLDERS = ("unit/server", "server")
MODULES = modules_of(server)


@pytest.mark.parametrize("module", [*MODULES, "fastapi"])
def test_a_module_has_a_file_of_tests(module: str) -> None:
    assert has_tests(module, FOLDERS), f"No test_{module}.py in {' or '.join(FOLDERS)}."


def test_the_modules_are_found() -> None:
    assert {"bodies", "limits", "service", "shares"} <= set(MODULES)


def test_its_face_has_the_interface_and_the_implementation() -> None:
    assert issubclass(server.FastAPI, server.Server)
    with pytest.raises(AttributeError, match=r"no attribute 'FastApi'\. Did you mean 'FastAPI'"):
        server.FastApi  # noqa: B018
