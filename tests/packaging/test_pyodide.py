"""Python in a browser (Pyodide, JupyterLite): the client over HTTP and all displays, with what Pyodide has."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.servers import running, start_ours
from tests.display.tiers import Page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.servers import Running

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
#: The version that was tested.
VERSION = "314.0.7"
#: What is pure Python, or is without its compiled part, and taken from here.
PURE = (
    *("requests", "urllib3", "idna", "certifi", "charset_normalizer"),
    *("jinja2", "markupsafe"),
)
#: Of our dependencies what Pyodide's own list (pyodide-lock.json of that version) has, and what is pure Python.
AVAILABLE = {
    "numpy",
    "pandas",
    "requests",
    "tqdm",
    "jinja2",
    "xxhash",
    "ipywidgets",
    "snowballstemmer",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(start_ours(tmp_path_factory.mktemp("server"))) as server:
        yield server


def check(found: dict[str, Any]) -> None:
    """Check what `in_pyodide` has returned."""
    assert len(found["pages"]) == 14
    for name, html in found["pages"].items():
        page = Page(html)
        assert not page.problems, name
        assert not page.strange(), name
        assert "Unavailable" not in page.text, name
    assert "lite" in found["pages"]["client"]
    assert "a &lt;b&gt;train&lt;/b&gt;" in found["pages"]["get"]
    client, folder, texts = found["refusals"]
    for said in (client, folder):
        assert said.startswith("NotSupportedError: Python in a browser")
        assert "chroma_nb.connect(" in said
    assert texts.startswith("NotSupportedError: Texts cannot be embedded")


def test_it_asks_for_nothing_that_pyodide_has_no_build_of() -> None:
    requirements = pytest.importorskip("packaging.requirements")
    text = (ROOT / "pyproject.toml").read_text()
    listed = re.findall(r'"(.*?)"', text.split("\ndependencies = [")[1].split("\n]")[0])
    assert len(listed) >= 12
    wanted = {"browser": set(), "here": set()}
    for one in map(requirements.Requirement, listed):
        for place, platform in (("browser", "emscripten"), ("here", "linux")):
            if one.marker is None or one.marker.evaluate({"sys_platform": platform}):
                wanted[place].add(one.name)
    assert wanted["browser"] == AVAILABLE
    assert wanted["here"] - wanted["browser"] == {
        "PyStemmer",
        "duckdb",
        "onnxruntime",
        "psutil",
        "tokenizers",
        "turbovec",
        "usearch",
    }


def test_a_client_and_all_displays_need_no_more_than_pyodide_has(server: Running) -> None:
    """As poor as there, on this interpreter: without those libraries, and where no thread can be started."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", HERE / "in_pyodide.py", server.url],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    check(json.loads(done.stdout))


@pytest.fixture(scope="module")
def pyodide(tmp_path_factory: pytest.TempPathFactory, server: Running) -> dict[str, Any]:
    """What Pyodide found under Node. CHROMA_NB_PYODIDE names a folder with its files, else npm gets them."""
    if shutil.which("node") is None:
        pytest.skip("needs Node.js: apt-get install nodejs npm")
    folder = Path(os.environ.get("CHROMA_NB_PYODIDE", ""))
    if not (folder / "pyodide.mjs").exists():
        home = tmp_path_factory.mktemp("npm")
        if shutil.which("npm") is None:
            pytest.skip("needs npm, or CHROMA_NB_PYODIDE with a folder that has pyodide.mjs")
        got = subprocess.run(
            ["npm", "install", "--ignore-scripts", "--prefix", str(home), f"pyodide@{VERSION}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if got.returncode != 0:
            pytest.skip(f"npm cannot get pyodide@{VERSION}: {got.stderr[-300:]}")
        folder = home / "node_modules" / "pyodide"
    packages = tmp_path_factory.mktemp("packages")
    for name in PURE:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        shutil.copytree(
            Path(spec.origin).parent,
            packages / name,
            ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"),
        )
    # It takes connections, and answers nothing.
    hung = socket.create_server(("127.0.0.1", 0))
    done = subprocess.run(
        [
            # Node 20 and 22 have it behind a flag: Python waits for an answer while JavaScript goes on.
            *("node", "--experimental-wasm-stack-switching", HERE / "pyodide.mjs"),
            *(folder, ROOT, packages, server.url, f"http://127.0.0.1:{hung.getsockname()[1]}"),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    hung.close()
    assert done.returncode == 0, done.stderr[-3_000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.network
def test_pyodide_imports_the_package_and_reaches_a_server(pyodide: dict[str, Any]) -> None:
    assert pyodide["platform"] == "emscripten"
    assert pyodide["loaded"] == [], "importing the package loads nothing large"
    assert "from-pyodide" in pyodide["names"]
    assert "http://127.0.0.1:9" in pyodide["gone"]
    assert "did not answer within 1 s" in pyodide["late"]
    assert 0.9 <= pyodide["waited"] < 60


@pytest.mark.network
def test_pyodide_shows_everything(pyodide: dict[str, Any]) -> None:
    if not pyodide["has_numpy"]:
        pytest.skip(
            "Pyodide's numpy is neither in CHROMA_NB_PYODIDE nor could it be fetched from where Pyodide has its builds: "
            + " ".join(pyodide["problems"])[-300:]
        )
    check(pyodide)
