"""Each module of `chroma_nb.server` has its tests in a file of its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from chroma_nb import server

TESTS = Path(__file__).parents[2]
MODULES = sorted(path.stem for path in Path(server.__file__).parent.glob("[!_]*.py"))


@pytest.mark.parametrize("module", [*MODULES, "fastapi"])
def test_a_module_has_a_file_of_tests(module: str) -> None:
    places = [TESTS / folder / f"test_{module}.py" for folder in ("unit/server", "server")]
    assert any(place.is_file() for place in places), f"None of {', '.join(map(str, places))}."


def test_the_modules_are_found() -> None:
    assert {"bodies", "limits", "service", "shares"} <= set(MODULES)


def test_its_face_has_the_interface_and_the_implementation() -> None:
    assert issubclass(server.FastAPI, server.Server)
    with pytest.raises(AttributeError, match=r"no attribute 'FastApi'\. Did you mean 'FastAPI'"):
        server.FastApi  # noqa: B018
