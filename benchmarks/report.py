"""The table on the terminal, the page, and its plot; all from plain results.

``python -m benchmarks.report`` writes the page again from ``benchmarks/results.json``.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import reading
from benchmarks.rows import RAW, ROWS, Row

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The figures of the last full run.
RESULTS = Path(__file__).parent / "results.json"

MARK_MET, MARK_MISSED = "yes", "**no**"


def cell(results: Mapping[str, Any], name: str, row: Row) -> str:
    """Return one cell: the figure, else why there is none."""
    engine = results["engines"][name]
    value = engine["figures"].get(row.key)
    if value is not None:
        return f"{value:,.{row.digits}f}"
    if "engine" in engine["notes"]:
        return "-"
    if row.key.endswith("_recall"):
        return "-"
    parent = row.key.removesuffix("_p95").removesuffix("_trimmed").removesuffix("_file")
    note: str = engine["notes"].get(parent, "-")
    if note.startswith("fails"):
        return "fails"
    return "-" if note.startswith(("no ", "not a ")) else note


def subjects(results: Mapping[str, Any]) -> list[str]:
    """Return the chroma_nb columns that have figures."""
    return [name for name in RAW if results["engines"].get(name, {}).get("figures")]


def ratios(results: Mapping[str, Any], name: str, row: Row) -> str:
    """Say how one chroma_nb compares with chromadb, the raw graph and LanceDB."""
    figures = {n: e["figures"] for n, e in results["engines"].items()}
    own = figures[name].get(row.key)
    if own is None or row.key.endswith("recall") or row.key == "memory_file":
        return ""
    parts = []
    for other, label in (("chromadb", "chromadb"), (RAW[name], "raw"), ("lancedb", "LanceDB")):
        if label == "raw" and row.key in ("import", "first"):
            continue  # a graph library has nothing to import or to open
        value = figures.get(other, {}).get(row.key)
        if value and own > 0:
            parts.append(f"{_ratio(own / value if row.more_is_better else value / own)}x {label}")
    return ", ".join(parts)


def _ratio(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def verdict(results: Mapping[str, Any], name: str, row: Row) -> tuple[str, str]:
    """Return (the target as a number, whether it is met); empty where it cannot be said."""
    if row.bound is None:
        return "", ""
    figures = {n: e["figures"] for n, e in results["engines"].items()}
    found = row.bound(figures, name, results)
    own = figures[name].get(row.key)
    if found is None:
        return "", ""
    bound = found[0]
    sign = ">=" if row.more_is_better else "<="
    shown = f"{sign} {bound:,.{row.digits}f}"
    if own is None:
        return shown, MARK_MISSED
    met = own >= bound if row.more_is_better else own <= bound
    return shown, MARK_MET if met else MARK_MISSED


def _table(lines: list[list[str]]) -> list[str]:
    """Return a Markdown table that also reads well as plain text."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    shown = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return [shown[0], rule, *shown[1:]]


def figures_table(results: Mapping[str, Any]) -> list[str]:
    """Return every engine's figures."""
    names = list(results["engines"])
    head = ["", *(results["engines"][name]["label"] for name in names)]
    return _table([head, *([row.title, *(cell(results, n, row) for n in names)] for row in ROWS)])


def targets_table(results: Mapping[str, Any], name: str) -> list[str]:
    """Return one chroma_nb's figures beside its targets."""
    lines = [
        [
            "",
            results["engines"][name]["label"],
            "target",
            "target here",
            "met",
            "times better than",
        ]
    ]
    for row in ROWS:
        shown, met = verdict(results, name, row)
        ratio = ratios(results, name, row)
        if row.target or ratio:
            lines.append([row.title, cell(results, name, row), row.target, shown, met, ratio])
    return _table(lines)


def text(results: Mapping[str, Any]) -> str:
    """Return the tables and the notes for a terminal."""
    lines = [_about(results), "", *figures_table(results)]
    for name in subjects(results):
        if not results.get("quick"):  # the targets are those of the full run
            lines += ["", *targets_table(results, name)]
    notes = _notes(results)
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _wrapped(item: str) -> str:
    """Break an item of a Markdown list into lines of at most 120 characters."""
    return textwrap.fill(
        item, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _about(results: Mapping[str, Any]) -> str:
    return (
        f"{results['records']:,} x {results['dimensions']}, cosine ({results['data']}); "
        f"{results['queries']:,} held-out queries, top 10; {results['threads']} threads; "
        f"filters match {results['shard_share']:.1%} and {results['contains_share']:.1%}."
    )


def _notes(results: Mapping[str, Any]) -> list[str]:
    lines = []
    titles = {row.key: row.title for row in ROWS}
    for engine in results["engines"].values():
        for key, note in engine["notes"].items():
            if not note.startswith(("no ", "not a ")):
                lines.append(_wrapped(f"* {engine['label']}, {titles.get(key, key)}: {note}"))
    return lines


def page(results: Mapping[str, Any], image: str) -> str:
    """Return docs/benchmarks.md."""
    machine = results["machine"]
    versions = ", ".join(e["versions"] for e in results["engines"].values() if e["versions"])
    unique = ", ".join(dict.fromkeys(versions.split(", ")))
    lines = [
        "# Benchmarks",
        "",
        "One command measures chroma_nb and other stores and graph libraries for notebooks, in one "
        "run, and writes this page:",
        "",
        "```",
        "pip install -e '.[bench]'",
        results["command"],
        "```",
        "",
        _wrapped(
            f"* **Data**: {_about(results)} Vectors take {results['vector_mb']:.0f} MB as float32; "
            f"ids, documents and metadata {results['record_mb']:.1f} MB as text."
        ),
        f"* **Machine**: {machine['processor']}, {machine['memory']}; {machine['system']}; "
        f"{machine['python']}.",
        f"* **Versions**: {unique}.",
        f"* The run took {results.get('minutes', 0):.0f} minutes. Times depend on the machine; "
        "compare the ratios.",
        "",
        f"![The main figures as bars]({image})",
        "",
        "## Figures",
        "",
        *figures_table(results),
        "",
        *_notes(results),
    ]
    for name in subjects(results):
        lines += [
            "",
            f"## Targets: {results['engines'][name]['label']}",
            "",
            "The targets are those of [the design](design.md). "
            f"*Raw* is {results['engines'].get(RAW[name], {}).get('label', RAW[name])}.",
            "",
            *targets_table(results, name),
        ]
    if reading.RESULTS.exists():
        lines += ["", *_reading()]
    lines += ["", "## What each row is", ""]
    lines += [_wrapped(f"* **{row.title}**: {row.about}") for row in ROWS]
    lines += ["", *HOW]
    return "\n".join(lines) + "\n"


def _reading() -> list[str]:
    """Return what reading takes while a graph grows, from its own saved results."""
    found = json.loads(reading.RESULTS.read_text())
    engines = found["engines"]
    records, machine = engines[0]["records"], found["machine"]
    return [
        "## Reading while a graph grows",
        "",
        f"`python -m benchmarks.reading`: a collection grows from {records // 2:,} to {records:,} records "
        f"({engines[0]['data']}).",
        "Its graph grows in the background. Meanwhile, one thread makes all calls of this table in turn, as fast as it can.",
        "A *quiet* store has all records and builds nothing. The ratio compares the 99th percentiles.",
        "",
        "The target for queries, gets and displays: the 99th percentile is at most "
        f"{reading.MOST_MS:.0f} ms, and at most {reading.MOST_RATIO:.0f} times that of the quiet store.",
        "({processor}, {memory}; {python}.)".format(**machine),
        "",
        *reading.page(engines).splitlines(),
    ]


HOW = """## How it is measured

* Each engine runs in its own fresh process. The processes exist at the same time and are queried in turn: in
  each round every process gets a part of the queries, in another order each round. So if the machine becomes
  slower, it becomes slower for all engines. If adding and building takes less than a minute, it is repeated in further fresh processes,
  and the median is shown.
* All graphs have the same parameters (M 16, ef_construction 100, ef_search 100) and the same number of
  threads. LanceDB's index is `HnswSq` in one partition with `refine_factor(2)`, the fastest of its indexes
  that reached recall 0.99 here. Qdrant's local mode has no graph.
* Every engine gets the same Python objects: a list of ids, a float32 array, a list of documents, a list of
  metadata. The time includes the conversion to the engine's own format.
* "Durable" means each engine's own default. chroma_nb calls `fsync` at each commit. chromadb leaves it to
  SQLite. LanceDB and Qdrant's local mode write files without flushing them. The raw graphs save nothing.
* chroma_nb misses some targets for a reason. Queries compute the distances in float64 from the records' own
  vectors, so that a record's distance is always the same to the last bit. Adding one record also counts
  the commit, updates checksums, and checks that the folder was not replaced.
* The queries are glosses that are in no index. Their embeddings are computed beforehand, so no figure
  includes the time of an embedding model.

## The data

The data are the definitions of WordNet 3.0 as "word: gloss", embedded with all-MiniLM-L6-v2 (ONNX). The
queries and the records come from one seeded order of all 117,659 definitions, so every run measures the same
data.

`--data FOLDER` names a folder of prepared embeddings (`*.jsonl.gz` with `*-minilm-f16.npy`). Missing
embeddings are computed once:

* from WordNet's files (Debian: `apt-get install wordnet-base`, or `--wordnet FOLDER`);
* with chroma_nb's MiniLM (in `--minilm FOLDER`, `CHROMA_NB_MINILM_PATH` or Chroma's cache folder, else
  downloaded);
* and saved in `CHROMA_NB_BENCH_CACHE` (default: `chroma_nb/benchmarks` in the user's cache folder).

`python -m benchmarks.data` does only this.

`python -m benchmarks.run --quick` needs none of these data: it uses 6,000 random vectors, takes a few
seconds, and writes no page. The tests run it to check that the benchmarks still work. `--engines a,b` chooses
engines; an engine that is not installed is reported. `python -m benchmarks.profile_query` shows where the time
of one query goes. WordNet 3.0 is copyright 2006 by Princeton University.
""".splitlines()


def write(results: Mapping[str, Any], folder: Path) -> None:
    """Write benchmarks.md and its plot into a folder."""
    image = "images/benchmarks.png"
    (folder / "images").mkdir(parents=True, exist_ok=True)
    try:
        from benchmarks.plot import plot

        plot(results, folder / image)
    except ImportError:
        print("matplotlib is not installed: the plot is not written")
    (folder / "benchmarks.md").write_text(page(results, image), encoding="utf-8")


def main() -> None:
    """Write the page again from saved results."""
    parser = argparse.ArgumentParser(description="Write the page from saved results.")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--output", type=Path, default=Path("docs"))
    given = parser.parse_args()
    results = json.loads(given.results.read_text())
    print(text(results))
    write(results, given.output)


if __name__ == "__main__":
    main()
