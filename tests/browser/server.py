"""Jupyter servers with folders of their own, started once and stopped for sure."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "notebook-tests"

#: What a new user would be asked or told, and what keeps cells that are out of sight from being drawn.
LAB_SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def environment(home: Path) -> dict[str, str]:
    """Everything that Jupyter and IPython keep, in a folder of the test's own."""
    settings = home / "lab-settings"
    for name, values in LAB_SETTINGS.items():
        file = settings / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    return {
        **os.environ,
        "HOME": str(home),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
    }


@contextlib.contextmanager
def serve(arguments: list[str], home: Path, root: Path, path: str) -> Iterator[str]:
    """Run a server until the context is left; yields its address once `path` answers there."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = home / f"server-{port}.log"
    home.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments, f"--port={port}"],
            cwd=root,
            env=environment(home),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + 90
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(url + path, timeout=10).status_code < 400:
                    break
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server did not start:\n{log.read_text()[-4000:]}")
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)


def lab_arguments(root: Path) -> list[str]:
    return [
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        f"--IdentityProvider.token={TOKEN}",
        f"--ServerApp.root_dir={root}",
        # `lab.py` asks `window.jupyterapp` when the page is ready.
        "--LabApp.expose_app_in_browser=True",
        "--JupyterNotebookApp.expose_app_in_browser=True",
        "--ServerApp.terminals_enabled=False",
        "--LabApp.news_url=",
        "--ServerApp.open_browser=False",
        "--ServerApp.port_retries=0",
    ]
