"""The shell recipes of docs/server.md, run as they are written against real servers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "server.md"
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: What stands before the recipes: a server goes on in the background, and the next line waits for it.
PRELUDE = """
set -eu
chroma-nb() {
    if [ "$1" != run ]; then
        python -m chroma_nb "$@"
        return
    fi
    mkfifo started
    python -m chroma_nb "$@" > started 2> server.log &
    echo $! > server.pid
    head -n 1 started
    [ "$(jobs -r | wc -l)" = 1 ]
}
refused() {
    if "$@" > refused.log 2>&1; then echo "not refused: $*"; exit 1; fi
    grep -q "AuthorizationError" refused.log
}
count() {
    CHROMA_NB_TOKEN="$1" python -c 'import chroma_nb; print(chroma_nb.connect()["docs"].count())'
}
"""

#: What has to be the case after a section's recipes.
AFTERWARDS = {
    "Running it": """
        python -c 'import chroma_nb; chroma_nb.connect("http://127.0.0.1:8000").heartbeat()'
    """,
    "Authentication and permissions": """
        ls -l ops.token auth.json | grep -c '^-rw-------' | grep -qx 2
        [ "$(count "$(cat alice.new)")" = 1 ]
        refused count "$(cat alice.token)"
        refused python -c '
import chroma_nb
chroma_nb.connect(basic_auth=("carol", "correct horse battery"))'
        chroma-nb auth list auth.json | tee listed
        [ "$(wc -l < listed)" = 3 ]
        CHROMA_NB_TOKEN=$(cat ops.token) python -c '
import chroma_nb
assert chroma_nb.connect(tenant="acme").list_collections()[0].name == "docs"'
        refused python -c 'import chroma_nb; chroma_nb.connect()'
    """,
    "TLS, and behind a proxy": "",
}


def sections() -> dict[str, list[str]]:
    """Return the shell blocks of each section that has some."""
    found = {}
    for part in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        blocks = _BLOCK.findall(part)
        if blocks:
            found[part.partition("\n")[0]] = blocks
    return found


def test_every_recipe_is_run() -> None:
    assert sections().keys() == AFTERWARDS.keys()


@pytest.mark.skipif(sys.platform == "win32", reason="needs bash")
@pytest.mark.parametrize("section", AFTERWARDS)
def test_a_recipe_works_as_written(section: str, tmp_path: Path) -> None:
    blocks = "\n".join([*sections()[section], AFTERWARDS[section]])
    if "openssl " in blocks and shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    if "--flight-port" in blocks:
        pytest.importorskip("pyarrow.flight")
    lines = [line for line in blocks.splitlines() if not line.startswith("pip install")]
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        port, flight_port = str(one.getsockname()[1]), str(other.getsockname()[1])
    script = PRELUDE + "\n".join(lines).replace("localhost:8000", f"localhost:{port}").replace(
        "127.0.0.1:8000", f"127.0.0.1:{port}"
    ).replace("8815", flight_port)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("CHROMA_NB_")
    }
    environment.update(
        PATH=f"{Path(sys.executable).parent}:{environment['PATH']}",
        CHROMA_NB_SERVER_PORT=port,
        CHROMA_NB_OFFLINE="1",
    )
    try:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        log = tmp_path / "server.log"
        said = f"{done.stdout}\n{done.stderr}\n{log.read_text() if log.exists() else ''}"
        assert done.returncode == 0, said
        assert "Traceback" not in done.stderr
    finally:
        pid = tmp_path / "server.pid"
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)
