"""`Settings`: argument, environment, default; each kind of value; nothing that should stay hidden."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from chroma_nb.settings import MASK, Settings, describe, resolve, without_secrets

SECRETS = ("token", "basic_auth", "headers", "proxy", "server_token")


def test_an_argument_comes_before_the_environment_before_the_default() -> None:
    environment = {"CHROMA_NB_GRAPH_MIN_RECORDS": "123", "CHROMA_NB_PROXY": "p:1", "PATH": "x"}
    resolved = resolve({"graph_min_records": 7}, environment)
    assert (resolved["graph_min_records"], resolved["proxy"]) == (7, "p:1")
    assert resolved["path"] == "./chroma", "only names with the prefix are ours"
    assert set(resolved) == {field.name for field in dataclasses.fields(Settings)}


@pytest.mark.parametrize(
    ("name", "given", "read"),
    [
        ("fsync", "yes", True),
        ("fsync", " OFF ", False),
        ("fsync", False, False),
        ("graph_min_records", "12", 12),
        ("server_flight_port", "8815", 8_815),
        ("server_flight_port", 0, 0),
        ("server_flight_port", None, None),
        ("server_flight_port", "", None),
        ("idle_unload_seconds", "1.5", 1.5),
        ("idle_unload_seconds", 3, 3.0),
        ("path", Path("a") / "b", str(Path("a") / "b")),
        ("memory_budget", 5_000, "5000"),
        ("memory_budget", "2 GB", "2 GB"),
        ("headers", {"b": "1", "a": "2"}, '{"a": "2", "b": "1"}'),
    ],
)
def test_a_value_is_read(name: str, given: Any, read: Any) -> None:
    assert resolve({name: given}, {})[name] == read


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("fsync", "perhaps", "must be true or false, got 'perhaps'"),
        ("fsync", 1, "must be true or false, got 1"),
        ("graph_min_records", "many", "must be a number, got 'many'"),
        ("graph_min_records", True, "must be a number, got True"),
        ("graph_min_records", None, "must be a number, got None"),
        ("graph_min_records", -1, "must not be negative, got -1"),
        ("server_flight_port", "any", "must be a number, got 'any'"),
        ("server_flight_port", False, "must be a number, got False"),
        ("server_flight_port", -1, "must not be negative, got -1"),
        ("path", 7, "must be a text, got 7"),
        ("memory_budget", True, "must be a text, got True"),
    ],
)
def test_a_value_that_cannot_be_read_is_named(name: str, given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"Setting {name} {said}"):
        resolve({name: given}, {})


def test_the_environment_is_named_by_its_variable() -> None:
    with pytest.raises(ValueError, match="CHROMA_NB_FSYNC must be true or false"):
        resolve({}, {"CHROMA_NB_FSYNC": "perhaps"})


def test_every_setting_is_explained() -> None:
    for name, variable, default, meaning in describe():
        assert variable == f"CHROMA_NB_{name.upper()}"
        assert meaning.endswith((".", ")")), name
        # None: a number that may be missing.
        assert type(default) in (str, int, float, bool, type(None)), name


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_never_shown(name: str) -> None:
    value = {"x-key": "hunter2"} if name == "headers" else "user:hunter2"
    settings = Settings(**{name: value})
    assert "hunter2" in getattr(settings, name)
    assert settings.shown(name) == MASK
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings._repr_html_())
    assert Settings().shown(name) == "", "that none is set is no secret"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ann:hunter2@host:8000/base", "https://host:8000/base"),
        ("ann:hunter2@host", "host"),
        ("http://host/a@b", "http://host/a@b"),
        ("host:8000", "host:8000"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
    settings = Settings(api="fastapi", url=url)
    assert settings.place == settings.shown("url") == shown
    assert "hunter2" not in repr(settings) + str(settings._repr_html_())


def test_where_a_store_is() -> None:
    assert Settings().place == "in memory"
    assert Settings(is_persistent=True, path="./here").place == "./here"
    assert Settings(persist_directory="./there").persist_directory == "./there"


def test_settings_are_values() -> None:
    settings = Settings(threads=3)
    assert settings == Settings(threads=3) != Settings()
    assert settings.key() == Settings(threads=3).key() != Settings().key()
    assert settings.replace(threads=0) == Settings()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.threads = 4  # type: ignore[misc]


def test_chromas_way_to_say_a_token() -> None:
    chromas = Settings(
        chroma_client_auth_provider="chromadb.auth.token_authn.TokenAuthClientProvider",
        chroma_client_auth_credentials="hunter2",
        chroma_auth_token_transport_header="X-Chroma-Token",
    )
    assert (chromas.token, chromas.token_header) == ("hunter2", "X-Chroma-Token")
    with pytest.raises(ValueError, match="Use token= or basic_auth= instead"):
        Settings(chroma_client_auth_provider="my.Provider")


def test_a_broker_means_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = "amqp://host:5672//"
    assert Settings(celery_broker=broker).api == "celery"
    assert Settings(path="x", celery_broker=broker).api == "celery"
    assert Settings(api="mine:Own", celery_broker=broker).api == "mine:Own"
    for other in ({"url": "http://h"}, {"api": "local"}, {"api": "fastapi"}):
        with pytest.raises(ValueError, match="celery_broker"):
            Settings(celery_broker=broker, **other)
    with pytest.raises(ValueError, match="api='celery' contradict"):
        Settings(url="http://h", api="celery")
    # The environment's is for `chroma-nb worker`, and for a store whose API is chosen.
    monkeypatch.setenv("CHROMA_NB_CELERY_BROKER", broker)
    assert Settings().api == "local"
    monkeypatch.setenv("CHROMA_NB_API", "celery")
    assert Settings().api == "celery"
    assert not Settings().is_remote
