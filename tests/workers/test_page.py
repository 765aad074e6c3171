"""What docs/scaling.md says of workers can be done: its commands are ones that the command line takes."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from chroma_nb.cli import _parser, main
from chroma_nb.settings import ENVIRONMENT_PREFIX, Settings

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")


def test_its_commands_are_understood() -> None:
    found = re.findall(r"chroma-nb ((?:worker|run) [^`\n\"]*)", PAGE)
    assert len(found) >= 8
    for command in found:
        words = [one for one in shlex.split(command) if one not in ("...", "URL")]
        _parser().parse_args(words)


def test_its_settings_are_settings() -> None:
    fields = set(Settings.__dataclass_fields__)
    for name in re.findall(rf"{ENVIRONMENT_PREFIX}([A-Z_]+)", PAGE):
        assert name.lower() in fields or name.startswith("TEST_"), name


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--broker", ""], "--broker is empty"),
        (["--broker", "redis://h", "--concurrency", "0"], "at least 1"),
        (["--broker", "redis://h", "--nice", "20"], "0 to 19"),
        (["--broker", "redis://h", "--stores", "/no/such"], "is not a folder"),
        (["--broker", "redis://h", "--functions", "no_such_module"], "no_such_module"),
        (["--broker", "sqs://h"], "is not the address of RabbitMQ"),
        ([], "Workers need a broker"),
    ],
)
def test_a_worker_that_cannot_begin_says_why(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("celery")
    assert main(["worker", *arguments]) in (1, 2)
    assert says in capsys.readouterr().err


def test_without_celery_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "celery", None)
    monkeypatch.delitem(sys.modules, "chroma_nb.tasks.worker", raising=False)
    monkeypatch.delitem(sys.modules, "chroma_nb.tasks.app", raising=False)
    assert main(["worker", "--broker", "redis://h"]) == 1
    assert 'pip install "chroma-nb[celery]"' in capsys.readouterr().err
