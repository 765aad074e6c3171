"""What tests of several folders share: which run serially, which are quick, and the graph engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from chroma_nb.display import facts
from chroma_nb.index import ENGINES, load_engine

if TYPE_CHECKING:
    from chroma_nb.index.base import VectorIndex

# A busy machine is slow, and that is no fault.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

TESTS = Path(__file__).parent
#: Folders whose tests measure time or memory, or use every core. One that leaves that to a process of its own is marked
#: `own_process`, and others run beside it.
SERIAL = {"browser", "display", "memory", "packaging"}
#: Folders whose tests are in `scripts/test --quick`.
QUICK = {"unit"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all",
        action="store_true",
        help="walk every case of the suites in tests/trust that take a seeded sample by default (an hour)",
    )


def _folder(path: Path) -> str | None:
    """Return the folder in tests/ that a test is in; None where it is not there, as notebooks."""
    return path.relative_to(TESTS).parts[0] if path.is_relative_to(TESTS) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The slow ones first, so that no worker is left alone with one. A browser last: it leaves an event loop in the main
    # thread, which keeps others from having one of their own.
    folders = {path: _folder(path) for path in {item.path for item in items}}
    items.sort(
        key=lambda item: (
            folders[item.path] == "browser",
            item.get_closest_marker("slow") is None,
        )
    )
    for item in items:
        folder = folders[item.path]
        if folder is None:
            continue
        if folder in SERIAL and item.get_closest_marker("own_process") is None:
            item.add_marker(pytest.mark.serial)
        if folder in QUICK and item.get_closest_marker("slow") is None:
            item.add_marker(pytest.mark.quick)
        if item.config.getoption("--all"):
            # A walk over every case takes as long as it takes.
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(autouse=True)
def _displays_wait(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let displays wait for a store on a slow machine, but for the tests that look at how long they do."""
    if request.path.name not in ("test_facts.py", "test_reprs.py"):
        monkeypatch.setattr(facts, "PATIENCE_SECONDS", 60.0)
        monkeypatch.setattr(facts, "LONGEST_SECONDS", 60.0)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> type[VectorIndex]:
    """Each engine of vector graphs that is installed."""
    try:
        found = load_engine(request.param)
    except ImportError as error:
        pytest.skip(str(error))
    assert found is not None
    return found
