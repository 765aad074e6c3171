"""What the documentation says is true: its blocks run, its links lead somewhere, nothing is left out."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chroma_nb import errors
from chroma_nb.cli import _parser
from chroma_nb.settings import Settings, describe
from tests.support.clickhouse import HAS_CLICKHOUSE, NO_CLICKHOUSE

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *(ROOT / "docs" / name for name in ("guide.md", "search.md", "sql.md"))],
    ids=lambda p: p.name,
)
def test_the_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the guide shows Parquet, which the extra 'arrow' brings")
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    script = "\n".join(blocks)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for printed in re.findall(
        r"```text\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL
    ):
        assert printed in done.stdout


@pytest.mark.skipif(not HAS_CLICKHOUSE, reason=NO_CLICKHOUSE)
def test_the_blocks_of_the_page_on_scaling_run(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    script = "\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL))
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_compose_files_name_settings_and_commands_that_are_there() -> None:
    yaml = pytest.importorskip("yaml")
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    files = [yaml.safe_load(one) for one in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    assert files
    fields = set(Settings.__dataclass_fields__)
    for file in files:
        for service in file["services"].values():
            ours = [name for name in service.get("environment", {}) if "CHROMA_NB_" in name]
            assert {name.removeprefix("CHROMA_NB_").lower() for name in ours} <= fields
            for command in re.findall(r"chroma-nb ([^'\"\[]+)", service.get("command", "")):
                _parser().parse_args(command.split())


def test_the_database_of_the_page_on_extending_works(tmp_path: Path) -> None:
    """Each block names its file. The tests of the page pass, but for those that it says fail."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    files: dict[str, str] = {}
    for name, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", page, flags=re.DOTALL):
        files[name] = files.get(name, "") + code
    assert len(files) == 4
    assert page.count("```python") == page.count("```python\n# "), "a block that is not run"
    for name, code in files.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    told = re.findall(r"^FAILED (.+)$", page, flags=re.MULTILINE)
    assert told

    # What this run of pytest was asked for (PYTEST_ADDOPTS, its workers) is not asked of the page's.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    # Of the tests of the API those that read and write in every way.
    chosen = "TestSqliteDB or TestCarelessDB or records or conditions or threads or changed"
    done = run("-m", "pytest", "-q", "-rf", "--tb=short", "-p", "no:cacheprovider", "-k", chosen)
    failed = re.findall(r"^FAILED (\S+)", done.stdout, flags=re.MULTILINE)
    assert failed == told, done.stdout
    assert done.returncode == 1, done.stdout
    assert not re.search(r"\d error", done.stdout.splitlines()[-1])
    assert re.search(r"\d\d passed", done.stdout.splitlines()[-1])

    done = run("use_it.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "store" / "chroma.sqlite").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_page_of_settings_is_up_to_date() -> None:
    place = ROOT / "scripts" / "settings_table.py"
    spec = importlib.util.spec_from_file_location("settings_table", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.page()
    assert all(meaning for _, _, _, meaning in describe())


def test_every_error_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    for name in errors.__all__:
        if name != "error_types":
            assert name in guide, name


def test_every_extra_is_documented() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.split("[project.optional-dependencies]")[1].split("\n[")[0]
    extras = re.findall(r"^([a-z-]+) = ", section, flags=re.MULTILINE)
    docs = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for extra in set(extras) - {
        "all",
        "test",
        "lint",
        "bench",
        "browser",
        "ecosystem",
        "sentence-transformers",
    }:
        assert f"chroma-nb[{extra}]" in docs, extra
