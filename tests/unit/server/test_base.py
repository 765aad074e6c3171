"""What every `Server` has, whatever it speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import chroma_nb
from chroma_nb import cli
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.server.base import Server

if TYPE_CHECKING:
    from chroma_nb.api.base import API


class Quiet(Server):
    """A server that nobody reaches."""

    n_stops = 0

    @property
    def url(self) -> str:
        return "quiet:"

    def listen(self) -> None:
        pass

    def run(self) -> None:
        self.stop()

    def start(self) -> str:
        return self.url

    def stop(self) -> None:
        self.n_stops += 1
        self._release()


def test_all_methods_are_asked_of_an_implementation(api: API) -> None:
    with pytest.raises(TypeError, match="abstract"):
        Server(api)  # type: ignore[abstract]


def test_a_block_ends_with_a_stop_also_after_an_error(api: API) -> None:
    released: list[int] = []
    server = Quiet(api, chroma_nb.Settings(), lambda: released.append(1))
    with pytest.raises(ZeroDivisionError), server:
        1 // 0  # noqa: B018
    assert (server.n_stops, released) == (1, [1])


def test_without_settings_those_of_the_environment_count(
    api: API, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHROMA_NB_SERVER_PORT", "1234")
    assert Quiet(api).settings.server_port == 1234


def test_a_public_address_wants_authentication_whatever_is_spoken() -> None:
    with pytest.raises(InvalidArgumentError, match="without authentication"):
        Quiet.check_settings(chroma_nb.Settings(server_host="0.0.0.0"))
    Quiet.check_settings(chroma_nb.Settings(server_host="0.0.0.0", server_token="x" * 20))
    # What HTTP alone uses is not asked for.
    Quiet.check_settings(chroma_nb.Settings(server_tls_key="key.pem"))


def test_the_command_runs_the_server_that_the_settings_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHROMA_NB_SERVER", f"{__name__}:Quiet")
    for name in ("_allow_open_files", "sys.setswitchinterval"):
        monkeypatch.setattr(f"chroma_nb.cli.{name}", lambda *_: None)
    monkeypatch.setattr("chroma_nb.server.observability.log_to_stderr", lambda level: None)
    try:
        assert cli.main(["run", "--host", "0.0.0.0"]) == 2
        assert "without authentication" in capsys.readouterr().err
        assert cli.main(["run"]) == 0
        assert "on quiet: " in capsys.readouterr().out
    finally:
        chroma_nb.configure()
