"""The OpenAPI document, and schemathesis over it: whatever the document allows gets no 500."""

from __future__ import annotations

import json
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


CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
#: What a server may say of itself: not here, busy, too late, no memory. `status_code_conformance` accepts each only where
#: the document has it. Any other status from 500 on is a fault, 500 above all.
CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 501, 503, 504, 507]
"""
#: It would end the others.
LEFT_OUT = "reset"


def run(document: str, url: str, folder: Path, left_out: str, n_examples: int) -> None:
    command = shutil.which("st", path=f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    if command is None:
        pytest.skip('needs schemathesis: pip install "chroma-nb[ecosystem]"')
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    done = subprocess.run(
        [
            *(command, "--config-file", str(config)),
            *("run", document, "--url", url, "--checks", CHECKS),
            *("--phases", "coverage,fuzzing", "--max-examples", str(n_examples)),
            *("--exclude-operation-id-regex", f"^({left_out})$"),
            *("--generation-deterministic", "--no-color", "--workers", "1"),
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=570,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert " passed" in done.stdout
    assert requests.get(f"{url}/api/v2/heartbeat", timeout=10).status_code == 200


def test_no_request_that_the_document_allows_fails(server: Running, tmp_path: Path) -> None:
    run(f"{server.url}/openapi.json", server.url, tmp_path, LEFT_OUT, 10)


def test_nor_one_about_what_is_there(server: Running, tmp_path: Path) -> None:
    """The same, with a collection that has records in place of made-up ids."""
    place = "/api/v2/tenants/default_tenant/databases/default_database"
    requests.post(f"{server.url}/api/v2/reset", timeout=10).raise_for_status()
    budget = f"{server.url}/api/v2/memory/budget"
    requests.put(budget, json={"budget": "auto"}, timeout=10).raise_for_status()
    made = requests.post(f"{server.url}{place}/collections", json={"name": "there"}, timeout=10)
    assert made.status_code == 200, made.text
    found = made.json()
    rows = {
        "ids": ["a", "b"],
        "embeddings": [[1.0, 0.0], [0.0, 1.0]],
        "documents": ["x", None],
        "metadatas": [{"n": 1, "s": "x", "l": [1, 2]}, None],
    }
    path = f"{server.url}{place}/collections/{found['id']}"
    requests.post(f"{path}/upsert", json=rows, timeout=10).raise_for_status()
    document = requests.get(f"{server.url}/openapi.json", timeout=10).json()
    known = {
        "tenant": "default_tenant",
        "database": "default_database",
        "collection_id": found["id"],
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" and parameter["name"] in known:
                    parameter["schema"] = {"type": "string", "enum": [known[parameter["name"]]]}
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    # A budget of nothing would make most others answer 507.
    left_out = f"{LEFT_OUT}|delete_database|delete_collection|set_memory_budget"
    run("openapi.json", server.url, tmp_path, left_out, 25)
    assert requests.get(f"{path}/count", timeout=10).status_code == 200
