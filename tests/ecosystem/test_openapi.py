"""The OpenAPI document, and schemathesis over it: whatever the document allows gets no 500."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import requests

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.servers import Running


def test_no_request_that_the_document_allows_fails(server: Running, tmp_path: Path) -> None:
    command = shutil.which("st", path=f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    if command is None:
        pytest.skip('needs schemathesis: pip install "chroma-nb[ecosystem]"')
    done = subprocess.run(
        [
            *(command, "run", f"{server.url}/openapi.json"),
            *(
                "--checks",
                "not_a_server_error,content_type_conformance,response_schema_conformance",
            ),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "12"),
            *("--exclude-operation-id-regex", "^(search|attach_function|reset)$"),
            *("--generation-deterministic", "--no-color", "--workers", "1"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=570,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert requests.get(f"{server.url}/api/v2/heartbeat", timeout=10).status_code == 200
