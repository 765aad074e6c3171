"""No module of the package is longer than someone reads at once."""

from __future__ import annotations

from pathlib import Path

import chroma_nb

PACKAGE = Path(chroma_nb.__file__).parent
MOST_LINES = 600


def test_no_module_has_more_than_600_lines() -> None:
    lengths = {
        str(path.relative_to(PACKAGE)): len(path.read_text().splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    assert len(lengths) > 200
    assert {name: n for name, n in lengths.items() if n > MOST_LINES} == {}
