"""``chroma-nb``: run a server, and say who may use it."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from typing import TYPE_CHECKING, Any

from chroma_nb import factories
from chroma_nb._version import __version__
from chroma_nb.errors import ChromaError, InvalidArgumentError
from chroma_nb.memory.sizes import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

#: How long one thread of a server keeps Python to itself while another waits for it, seconds. Python's own
#: 5 ms is an age where a request takes half a millisecond.
_SWITCH_SECONDS = 0.0005


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, or 1 with a sentence on the standard error."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (ChromaError, ValueError, ImportError) as error:
        print(f"chroma-nb: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chroma-nb",
        description="A server for chroma_nb's and Chroma's clients.",
        epilog="Every setting is an environment variable, too: CHROMA_NB_...; see docs/server.md.",
    )
    parser.add_argument("--version", action="version", version=f"chroma-nb {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="serve a folder over HTTP")
    run.set_defaults(run=_run)
    run.add_argument("--path", help="folder of the store; without it the store is in memory")
    run.add_argument("--host", help="address to serve on (127.0.0.1)")
    run.add_argument("--port", type=int, help="port to serve on (8000; 0 is any that is free)")
    run.add_argument("--auth", metavar="FILE", help="file of tokens and users: chroma-nb auth")
    run.add_argument(
        "--public",
        action="store_true",
        default=None,
        help="serve on a public address without asking who it is",
    )
    run.add_argument("--memory", metavar="SIZE", help="memory budget: '2 GB', '25%%', auto")
    run.add_argument("--tls-certificate", metavar="FILE", help="serve HTTPS with this certificate")
    run.add_argument("--tls-key", metavar="FILE", help="the certificate's key")
    run.add_argument(
        "--allow-reset", action="store_true", default=None, help="let clients delete all"
    )
    run.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"], help="info"
    )

    auth = commands.add_parser("auth", help="say who may use a server").add_subparsers(
        required=True, metavar="ACTION"
    )
    add = auth.add_parser("add", help="make a token, or a user with a password")
    add.set_defaults(run=_auth_add)
    add.add_argument("file", metavar="FILE", help="the file; it is made where it is missing")
    add.add_argument("name", help="whose it is")
    add.add_argument(
        *("--tenant",),
        action="append",
        metavar="TENANT",
        help="a tenant that it may enter, more than once; '*' is every one, and to rule",
    )
    add.add_argument(
        *("--password",),
        action="store_true",
        help="a user with a password (asked for, or the first line of the input) instead of a token",
    )
    show = auth.add_parser("list", help="show whose credentials are in the file")
    show.set_defaults(run=_auth_list)
    show.add_argument("file", metavar="FILE")
    remove = auth.add_parser("remove", help="take a name's credentials away")
    remove.set_defaults(run=_auth_remove)
    remove.add_argument("file", metavar="FILE")
    remove.add_argument("name")
    return parser


def _run(options: argparse.Namespace) -> int:
    from chroma_nb.extras import require_extra

    require_extra("uvicorn", extra="server", needed_by="chroma-nb run")
    from chroma_nb.server.observability import log_to_stderr

    given = {
        "path": options.path,
        "is_persistent": True if options.path else None,
        "server_host": options.host,
        "server_port": options.port,
        "server_auth_file": options.auth and os.path.abspath(options.auth),
        "server_public": options.public,
        "memory_budget": options.memory,
        "server_tls_certificate": options.tls_certificate,
        "server_tls_key": options.tls_key,
        "allow_reset": options.allow_reset,
    }
    # A server is the store, wherever the environment sends its clients.
    values: dict[str, Any] = {"api": "local", "progress": False}
    values.update({name: value for name, value in given.items() if value is not None})
    settings = factories.configure(**values)
    if not 0 <= settings.server_port <= 65_535:
        raise InvalidArgumentError(f"Expected a port from 0 to 65535, got {settings.server_port}.")
    log_to_stderr(options.log_level)
    sys.setswitchinterval(_SWITCH_SECONDS)
    server = factories.get_server()
    budget = server.api.get_memory_budget()
    server.listen()
    print(
        f"chroma-nb {__version__} serves {settings.place} on {server.url} "
        f"(memory budget {format_bytes(budget)}). Ctrl-C stops it.",
        flush=True,
    )
    server.run()
    return 0


def _auth_add(options: argparse.Namespace) -> int:
    file = _auth_file(options)
    if not options.tenant:
        raise InvalidArgumentError(
            "Say which tenants it may enter: --tenant NAME, or --tenant '*'."
        )
    if options.password:
        asked = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline()
        password = asked.rstrip("\r\n")
        if len(password) < 8:
            raise InvalidArgumentError("Expected a password of at least 8 characters.")
        file.add_password(options.name, password, options.tenant)
        print(f"{options.name} may enter {', '.join(options.tenant)}.")
    else:
        token = file.add_token(options.name, options.tenant)
        print("The token is shown once; only its hash is kept:", file=sys.stderr)
        print(token)
    return 0


def _auth_list(options: argparse.Namespace) -> int:
    for one in _auth_file(options).read():
        print(f"{one.name}\t{one.kind}\t{', '.join(one.tenants)}")
    return 0


def _auth_remove(options: argparse.Namespace) -> int:
    removed = _auth_file(options).remove(options.name)
    if not removed:
        raise InvalidArgumentError(f"{options.file!r} has no credentials of {options.name!r}.")
    print(f"{removed} removed.")
    return 0


def _auth_file(options: argparse.Namespace) -> Any:
    from chroma_nb.server.auth import AuthFile

    return AuthFile(options.file)
