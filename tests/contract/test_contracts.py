"""The contracts themselves: each asks all that its interface has, and each is run over something here."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from typing import Any

import pytest

import chroma_nb.testing
from chroma_nb.api.base import API
from chroma_nb.db.base import DB
from chroma_nb.db.ranking import VectorRanking
from chroma_nb.db.vector_source import VectorSource
from chroma_nb.index.base import VectorIndex
from chroma_nb.server.base import Server

#: Interface -> the contracts that test it, and why some members are in none of them.
TESTED: dict[Any, tuple[tuple[str, ...], dict[str, str]]] = {
    API: (("APIContract",), {"open": "how an API is made, which `make_api` does"}),
    DB: (("DBContract", "SharedDBContract"), {}),
    VectorSource: (("DBContract",), {}),
    VectorRanking: (("DBContract",), {}),
    VectorIndex: (("VectorIndexContract",), {}),
    Server: (("ServerContract",), {}),
}


@pytest.mark.parametrize("interface", TESTED, ids=lambda one: one.__name__)
def test_all_of_an_interface_is_asked(interface: Any) -> None:
    contracts, left_out = TESTED[interface]
    asked: set[str] = set()
    for name in contracts:
        for part in getattr(chroma_nb.testing, name).__mro__[:-1]:
            tree = ast.parse(inspect.getsource(sys.modules[part.__module__]))
            asked |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            # By name, as `monkeypatch.setattr` has them.
            asked |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    members = {
        name
        for name, member in inspect.getmembers(interface)
        if not name.startswith("_") and (callable(member) or isinstance(member, property))
    }
    assert members - asked == set(left_out), "say why a member is in no contract"


def test_a_contract_says_what_a_subclass_has_to_write() -> None:
    for name in chroma_nb.testing._CONTRACTS:
        contract = getattr(chroma_nb.testing, name)
        assert not contract.__name__.startswith("Test"), "pytest would run the contract itself"
        tests = [one for one in dir(contract) if one.startswith("test_")]
        assert len(tests) >= 8
        (hook,) = [one for one in dir(contract) if one.startswith("make_") or one == "index_class"]
        n_arguments = len(inspect.signature(getattr(contract, hook)).parameters) - 1
        with pytest.raises(NotImplementedError, match="A subclass"):
            getattr(contract(), hook)(*([None] * n_arguments))


def test_the_example_needs_no_pytest() -> None:
    script = (
        "import sys, chroma_nb.testing\n"
        "sys.modules['pytest'] = sys.modules['hypothesis'] = None\n"
        "chroma_nb.testing.SharedMemoryDB, chroma_nb.testing.matches, chroma_nb.testing.local_api\n"
        "assert 'DBContract' in dir(chroma_nb.testing)\n"
        "try:\n"
        "    chroma_nb.testing.DBContract\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "chroma_nb.testing.DBContract needs pytest, which is not installed: "
        'pip install "chroma-nb[test]"\n'
    )
