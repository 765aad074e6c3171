"""Ctrl-C at every line of a call: the next open works, here and in another process, and no record is lost.

``interrupting.py`` runs the cases. A sample of the lines by default, ``--all`` for every line.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trust.interrupting import CALLS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system"),
]

#: Lines of the sample, and about how many a call has.
SAMPLE = 10
LINES = {"open": 1_080, "close": 33, "sql": 65}
LINES |= {"delete_collection": 214, "delete_database": 1_060, "reset": 223}
#: Half of the sample is from the last lines: the first ones only check settings.
LAST = 60


@pytest.mark.parametrize("call", list(CALLS))
def test_ctrl_c_in_a_call_locks_and_loses_nothing(
    tmp_path: Path, call: str, request: pytest.FixtureRequest
) -> None:
    numbers = ["all"]
    # Dropping a client is a few lines, the rest is done in the background.
    if call in LINES and not request.config.getoption("all"):
        lines = range(1, LINES[call] + 1)
        rng = random.Random(call)
        chosen = {*rng.sample(lines, SAMPLE // 2), *rng.sample(lines[-LAST:], SAMPLE // 2)}
        numbers = [str(n) for n in sorted(chosen)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.trust.interrupting", str(tmp_path), call, *numbers],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=3_600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    print(f"{call}: {len(cases)} lines")
    wrong = [case for case in cases if case["wrong"]]
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(
        f"{call} at {case['where']}: {''.join(case['wrong'])}" for case in wrong[:5]
    )
    n_traced = sum(case["where"] is not None for case in cases)
    if call == "drop":
        assert not n_traced, "what Python raises while it frees an object, it forgets"
    else:
        assert n_traced >= (SAMPLE // 2 if call in LINES else 1), "hardly a line was traced"


def test_closing_takes_all_steps_when_one_fails(tmp_path: Path) -> None:
    """Each step of closing fails in turn: the other steps are taken, and the error is raised at the end."""
    import chroma_nb
    from chroma_nb.db.store_lock import StoreLock
    from tests.trust.every_system_call.scenario import SETTINGS

    steps = ["segments._graphs", "segments._builder", "segments.residents", "db._temp"]
    for step in (*steps, "segments", "db"):
        for error in (OSError("failed"), KeyboardInterrupt()):
            client = chroma_nb.PersistentClient(tmp_path, chroma_nb.Settings(**SETTINGS))
            notes = client.get_or_create_collection("notes", embedding_function=None)
            notes.upsert(ids=["a"], embeddings=[[1.0, 2.0]])
            part = client._server
            for name in step.split("."):
                part = getattr(part, name)
            close = part.close

            def fail(close=close, error=error) -> None:  # type: ignore[no-untyped-def]
                close()
                raise error

            part.close = fail
            with pytest.raises(type(error)):
                client.close()
            client.close()
            StoreLock(str(tmp_path / "lock")).release()
    with chroma_nb.PersistentClient(tmp_path) as client:
        assert client.get_collection("notes", embedding_function=None).count() == 1
