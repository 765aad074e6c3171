"""Chroma's own tests of schemas and searches, with chroma_nb in the place of chromadb.

    python -m tests.chromas_own.run [CHECKOUT] [--leg NAME] [--examples N]

CHECKOUT is a folder of Chroma's repository; without one CHROMA_CHECKOUT says where it is, and else the chromadb that is
installed, whose wheel has the tests of its release. Nothing is downloaded. Each leg runs them as for Chroma's local store;
our own then runs what is skipped there, such as every search, as for Chroma's distributed one. CHROMAS_OWN_LOG is a file
that gets what pytest says.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from benchmarks.servers import running, start_chromas, start_ours
from chroma_nb import Settings
from chroma_nb.embedding._minilm import find_minilm
from tests.chromas_own.reviewed import FILES, REASONS, Reason, reason_for
from tests.support.clickhouse import HAS_CLICKHOUSE, URL, at_clickhouse

ROOT = Path(__file__).parents[2]
IN_PROCESS, OVER_HTTP, AT_CHROMAS = "in process", "over HTTP", "at Chroma's server"
IN_CLICKHOUSE, OVER_CLICKHOUSE = "in ClickHouse", "over HTTP, in ClickHouse"
LEGS = (IN_PROCESS, OVER_HTTP, AT_CHROMAS, IN_CLICKHOUSE, OVER_CLICKHOUSE)
#: What is so in one leg is so in the other as well: where records are makes no difference.
ALIKE = {IN_CLICKHOUSE: IN_PROCESS, OVER_CLICKHOUSE: OVER_HTTP}


def find_checkout(given: str | None = None) -> Path | None:
    """Return the folder that has Chroma's `chromadb/test`; None where there is none."""
    chosen = given or os.environ.get("CHROMA_CHECKOUT")
    if chosen is None:
        spec = importlib.util.find_spec("chromadb")
        if spec is None or spec.origin is None:
            return None
        chosen = str(Path(spec.origin).parents[1])
    folder = Path(chosen).resolve()
    return folder if all((folder / "chromadb/test" / one).is_file() for one in FILES) else None


def outcomes(checkout: Path, leg: str, examples: int = 10) -> dict[str, str]:
    """Run the tests in one leg, and return what became of each.

    Raises:
        RuntimeError: The tests could not be run at all.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "CHROMAS_OWN_CHECKOUT": str(checkout),
            "CHROMAS_OWN_EXAMPLES": str(examples),
            "CHROMAS_OWN_REPORT": str(folder / "report.json"),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CHROMA_NB_OFFLINE": "1",
        }
        store = folder / "store"
        clickhouse = {"CHROMA_NB_DB": "clickhouse"}
        if leg in (IN_CLICKHOUSE, OVER_CLICKHOUSE) and URL:
            place = at_clickhouse(Settings(path=str(store)))
            clickhouse["CHROMA_NB_CLICKHOUSE_URL"] = place.clickhouse_url
        if leg == IN_CLICKHOUSE:
            environment |= {**clickhouse, "CHROMAS_OWN_FOLDER": str(store)}
        elif leg == OVER_CLICKHOUSE:
            path = () if URL else ("--path", str(store))
            server = stack.enter_context(
                running(start_ours(folder, "--allow-reset", *path, **clickhouse))
            )
            environment["CHROMAS_OWN_URL"] = server.url
        elif leg == OVER_HTTP:
            server = stack.enter_context(running(start_ours(folder, "--allow-reset")))
            environment["CHROMAS_OWN_URL"] = server.url
        elif leg == AT_CHROMAS:
            server = stack.enter_context(running(start_chromas(folder)))
            environment["CHROMAS_OWN_URL"] = server.url
        found = _run(checkout, folder, {**environment, "CHROMA_RUST_BINDINGS_TEST_ONLY": "1"})
        if leg != AT_CHROMAS:
            left = [test for test, outcome in found.items() if outcome == "skipped"]
            (folder / "only.json").write_text(json.dumps(left))
            distributed = {
                "CHROMA_CLUSTER_TEST_ONLY": "1",
                "CHROMAS_OWN_ONLY": str(folder / "only.json"),
            }
            found |= _run(checkout, folder, environment | distributed)
    has_model = find_minilm(Settings(offline=True)) is not None
    for test, outcome in found.items():
        reason = _reason(test, leg, has_model=has_model)
        if reason is not None and outcome != "skipped":
            found[test] = "listed" if outcome == "failed" else "listed and passes"
    return found


def _reason(test: str, leg: str, *, has_model: bool) -> Reason | None:
    """Return why a test cannot pass in a leg, or in one that is like it."""
    found = (reason_for(test, one, has_model=has_model) for one in (leg, ALIKE.get(leg, leg)))
    return next((reason for reason in found if reason is not None), None)


def _run(checkout: Path, folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """Run pytest in a process of its own, in which chromadb is chroma_nb."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    report = Path(environment["CHROMAS_OWN_REPORT"])
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "--import-mode=importlib"]
    # Our fixtures in the place of Chroma's, and no plugin that its tests do not know.
    command += ["--noconftest", "-p", "tests.chromas_own.fixtures"]
    for plugin in ("cacheprovider", "schemathesis", "langsmith_plugin", "xdist"):
        command += ["-p", f"no:{plugin}"]
    command += ["-c", str(folder / "pytest.ini"), "--rootdir", str(checkout)]
    command += [str(checkout / "chromadb/test" / file) for file in FILES]
    done = subprocess.run(
        command,
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if not report.exists():
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    if "CHROMAS_OWN_LOG" in environment:
        with Path(environment["CHROMAS_OWN_LOG"]).open("a") as log:
            log.write(done.stdout)
    found: dict[str, str] = json.loads(report.read_text())
    return found


def table(found: dict[str, dict[str, str]]) -> str:
    """Return the outcomes of each leg as a Markdown table: passed / failed / skipped / listed, for each file."""
    lines = [f"| file | {' | '.join(found)} |", f"| --- |{' ---: |' * len(found)}"]
    for file in (*FILES, "all"):
        cells = []
        for leg in found.values():
            tests = [leg[one] for one in leg if file == "all" or one.partition("::")[0] == file]
            counts = Counter(tests)
            listed = counts["listed"] + counts["listed and passes"]
            cells.append(
                f"{counts['passed']} / {counts['failed']} / {counts['skipped']} / {listed}"
            )
        lines.append(f"| {file} | {' | '.join(cells)} |")
    return "\n".join(lines)


def reasons(found: dict[str, dict[str, str]]) -> str:
    """Return why the tests are listed that are, with how many there are of each reason."""
    has_model = find_minilm(Settings(offline=True)) is not None
    counts: Counter[Reason] = Counter()
    for leg, tests in found.items():
        for test, outcome in tests.items():
            reason = _reason(test, leg, has_model=has_model)
            if outcome == "listed" and reason is not None:
                counts[reason] += 1
    return "\n".join(
        f"* {counts[one]} {'differ on purpose' if one.differs else 'cannot apply'}: {one.text}"
        for one in REASONS
        if counts[one]
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkout", nargs="?")
    parser.add_argument("--leg", action="append", choices=LEGS)
    parser.add_argument("--examples", type=int, default=10, help="of each test by Hypothesis")
    chosen = parser.parse_args()
    checkout = find_checkout(chosen.checkout)
    if checkout is None:
        parser.error("no chromadb/test of release 1.5.9: give a checkout of Chroma's repository")
    legs = [leg for leg in LEGS if HAS_CLICKHOUSE or leg not in ALIKE]
    found = {leg: outcomes(checkout, leg, chosen.examples) for leg in chosen.leg or legs}
    print("passed / failed / skipped / listed\n")
    print(table(found), "\nListed:", reasons(found), sep="\n")
    wrong = [
        f"{outcome}, {leg}: {test}"
        for leg, tests in found.items()
        for test, outcome in tests.items()
        if outcome in ("failed", "listed and passes")
    ]
    print("", *wrong, sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
