"""Imports go one way at run time as well: those in functions and those by name lead into no circle.

import-linter (`pyproject.toml`) checks the layers of ordinary imports. A name in a string, such as
`import_module("chroma_nb.widgets")` or a table of implementations, escapes it, and is found here.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import chroma_nb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

PACKAGE = Path(chroma_nb.__file__).parent
#: Module -> the modules that it may import while the program runs, and the line that says so.
Graph = dict[str, dict[str, int]]

#: (module, constant) -> why its names of modules import nothing.
COMPARED = {
    ("chroma_nb.boundary", "_CALLS_OTHERS"): "compared with the modules of a traceback's frames",
    ("chroma_nb.boundary", "_CHECKS"): "compared with the modules of a traceback's frames",
}
#: (module, table of implementations) -> why a module may look up what is above it. These are the only ones.
WAYS_UP: dict[tuple[str, str], str] = {}


def modules_in(folder: Path) -> dict[str, Path]:
    """Return the modules of a package: dotted name -> file."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def last_name(node: ast.AST) -> str:
    """Return ``name`` of ``name`` and of ``module.name``; empty for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


@cache
def tree_of(path: Path) -> ast.Module:
    """Return what a module says."""
    return ast.parse(path.read_text(encoding="utf-8"))


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a tree's nodes but those that only a type checker reads."""
    yield node
    children = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and last_name(node.test) == "TYPE_CHECKING":
        children = iter(node.orelse)
    if isinstance(node, ast.Call) and last_name(node.func) == "getLogger":
        # Loggers have names like modules.
        return
    for child in children:
        yield from executed(child)


def constant_of(statement: ast.stmt) -> str:
    """Return the name that a statement assigns to; empty where it is no assignment to one name."""
    if isinstance(statement, ast.AnnAssign):
        return last_name(statement.target)
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        return last_name(statement.targets[0])
    return ""


def imported_by(node: ast.AST, module: str, modules: dict[str, Path]) -> Iterator[str]:
    """Yield the modules of the package that one node imports or names."""
    package = module if modules[module].name == "__init__.py" else module.rpartition(".")[0]
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *filter(None, [base])])
        for alias in node.names:
            # `from package import module` needs the module, not the package's lazy face.
            submodule = f"{base}.{alias.name}"
            yield submodule if submodule in modules else base
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        # "module" or "module:Class"; a package's face also names its own modules without the package.
        name = node.value.partition(":")[0]
        if "." in name:
            yield name
        if module == package:
            yield f"{package}.{name}"


@cache
def imports_in(folder: Path) -> list[tuple[str, str, str, int]]:
    """Return (module, constant that names it or "", imported module, line) of a package's modules.

    That a module needs the packages that it is in does not count: Python needs the folder, not what the
    package's face imports when it is asked for something.
    """
    modules = modules_in(folder)
    return [
        (module, constant_of(statement), name, getattr(node, "lineno", 0))
        for module, path in modules.items()
        for statement in tree_of(path).body
        for node in executed(statement)
        for name in imported_by(node, module, modules)
        if name in modules and name != module
    ]


def graph_of(folder: Path, left_out: AbstractSet[tuple[str, str]] = frozenset()) -> Graph:
    """Return which modules of a package import which, as the program runs."""
    graph: Graph = {module: {} for module in modules_in(folder)}
    for module, constant, name, line in imports_in(folder):
        if (module, constant) not in left_out:
            graph[module].setdefault(name, line)
    return graph


def circles_in(graph: Graph) -> list[list[str]]:
    """Return the strongly connected modules (Tarjan): those of a circle lead to each other."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    circles = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for other in graph[module]:
            if other not in order:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], order[other])
        if lowest[module] == order[module]:
            at = stack.index(module)
            if len(stack) - at > 1:
                circles.append(sorted(stack[at:]))
            del stack[at:]

    for module in graph:
        if module not in order:
            visit(module)
    return circles


def reached_from(graph: Graph, module: str) -> set[str]:
    """Return all modules that a module leads to."""
    found: set[str] = set()
    ahead = [module]
    while ahead:
        new = graph[ahead.pop()].keys() - found
        found |= new
        ahead.extend(new)
    return found


def test_no_circle_of_imports_at_run_time() -> None:
    graph = graph_of(PACKAGE, COMPARED.keys() | WAYS_UP.keys())
    circles = [
        [
            f"{module}:{line} -> {other}"
            for module in circle
            for other, line in graph[module].items()
            if other in circle
        ]
        for circle in circles_in(graph)
    ]
    assert not circles, (
        "Modules import each other in a circle, in functions or by name. A class attribute, a registry that is "
        f"filled from above, or a protocol ends it: {circles}"
    )


def test_displays_import_nothing_of_what_they_show() -> None:
    graph = graph_of(PACKAGE, COMPARED.keys())
    below = {
        name
        for module in graph
        if module.startswith("chroma_nb.display")
        for name in reached_from(graph, module)
        if not name.startswith("chroma_nb.display")
    }
    assert below == {
        "chroma_nb.byte_sizes",
        "chroma_nb.harmless",
        "chroma_nb.scalars",
        "chroma_nb.special_keys",
        "chroma_nb.suggest",
        "chroma_nb.webassembly",
        "chroma_nb.words",
    }


@pytest.mark.parametrize(("module", "table"), [*COMPARED, *WAYS_UP])
def test_each_exception_is_still_there(module: str, table: str) -> None:
    path = modules_in(PACKAGE).get(module)
    assert path is not None, f"{module} is gone: take it out of the exceptions."
    assert table in map(constant_of, tree_of(path).body), (
        f"{module} has no {table} any more: take it out."
    )


def test_each_way_up_is_needed() -> None:
    for exception in WAYS_UP:
        others = (COMPARED.keys() | WAYS_UP.keys()) - {exception}
        assert circles_in(graph_of(PACKAGE, others)), f"{exception} is in no circle: take it out."


def test_no_name_of_a_module_is_put_together_from_pieces() -> None:
    """Such a name would not be found above."""
    found = []
    for module, path in modules_in(PACKAGE).items():
        for statement in tree_of(path).body:
            if (module, constant_of(statement)) in COMPARED:
                continue
            for node in executed(statement):
                parts = node.values if isinstance(node, ast.JoinedStr) else []
                if isinstance(node, ast.BinOp):
                    parts = [node.left]
                first = parts[0] if parts else None
                if (
                    isinstance(first, ast.Constant)
                    and isinstance(first.value, str)
                    and first.value.startswith("chroma_nb.")
                ):
                    found.append(f"{module}:{node.lineno}")
    assert not found, f"Write names of modules in one piece: {', '.join(found)}"


@pytest.mark.parametrize(
    "there",
    [
        "import pack.above",
        "from pack import above",
        "from pack.above import name",
        "from . import above",
        "from .above import name",
        "def work():\n    from pack.above import name",
        "def work():\n    return import_module('pack.above')",
        "TABLE = {'name': 'pack.above:Class'}",
        "def work():\n    return sys.modules.get('pack.above')",
        "from pack.face import name",
    ],
)
def test_each_kind_of_circle_is_found(tmp_path: Path, there: str) -> None:
    pack = tmp_path / "pack"
    (pack / "face").mkdir(parents=True)
    (pack / "__init__.py").write_text("'''pack.above'''\n")
    (pack / "face" / "__init__.py").write_text("MODULES = ('inner',)\n")
    (pack / "face" / "inner.py").write_text("from pack import above\n")
    (pack / "above.py").write_text("from pack.ground import thing\n")
    (pack / "ground.py").write_text(there)
    (circle,) = circles_in(graph_of(pack))
    assert {"pack.above", "pack.ground"} <= set(circle)


@pytest.mark.parametrize(
    "there",
    [
        "if TYPE_CHECKING:\n    from pack import above",
        "if typing.TYPE_CHECKING:\n    import pack.above",
        "LOGGER = logging.getLogger('pack.above')",
        "import pack",
        "TEXT = 'above'",
        "KNOWN = ('pack.above',)",
    ],
)
def test_what_imports_nothing_is_no_circle(tmp_path: Path, there: str) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "__init__.py").write_text("")
    (pack / "above.py").write_text("from pack.ground import thing\n")
    (pack / "ground.py").write_text(there)
    assert circles_in(graph_of(pack, {("pack.ground", "KNOWN")})) == []
