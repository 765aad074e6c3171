"""`run`: Python with another checkout's chroma_nb, for benchmarks that compare versions."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

#: This checkout.
ROOT = Path(__file__).parents[1]


def run(code: Path, *arguments: str) -> str:
    """Run Python with one checkout's package and this one's benchmarks; return what it prints."""
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "benchmarks").symlink_to(ROOT / "benchmarks")
        path = os.pathsep.join([home, str(code)])
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=home,
            env={**os.environ, "PYTHONPATH": path, "CHROMA_NB_OFFLINE": "1"},
        )
    if done.returncode:
        raise SystemExit(f"{code}: {done.stderr[-2_000:]}")
    return done.stdout
