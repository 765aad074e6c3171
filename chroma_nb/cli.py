"""``chroma-nb``: run a server, say who may use it, and check a store."""

from __future__ import annotations

import argparse
import contextlib
import errno
import getpass
import logging
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

from chroma_nb import factories
from chroma_nb._version import __version__
from chroma_nb.api_names import LOCAL_API, is_remote
from chroma_nb.errors import ChromaError, InvalidArgumentError
from chroma_nb.importing import missing_package
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.server.auth_file import AuthFile, describe
from chroma_nb.settings import Settings, expand_path

if TYPE_CHECKING:
    from collections.abc import Sequence

#: How long one thread of a server keeps Python to itself while another waits for it, seconds. Python's own
#: 5 ms is an age where a request takes half a millisecond.
_SWITCH_SECONDS = 0.0005
#: Exit statuses: as argparse has it, and as a shell has it after Ctrl-C.
_USAGE = 2
_INTERRUPTED = 130
#: `chroma-nb check` has found damaged records.
_DAMAGED = 3
#: What a store's folder has, at least one of it.
_FILES_OF_A_STORE = ("records.duckdb", "vectors", "commits")
#: What the operating system refuses now and may allow later.
_MAY_PASS = (
    *(errno.EADDRINUSE, errno.EAGAIN, errno.EIO, errno.EMFILE, errno.ENFILE),
    *(errno.ENOMEM, errno.ENOSPC),
)
#: Files that a server may have open, where the system allows it: connections are files, too.
_OPEN_FILES = 65_536


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    0 is done. 3 is damage that `check` has found. 2 is an argument or a setting that cannot be used, 1 any other failure: one that may be over
    at the next try, such as an address in use. Both come with a sentence on the standard error.
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (ChromaError, ValueError, ImportError, OSError) as error:
        print(f"chroma-nb: {error}", file=sys.stderr)
        return _status(error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status


def _status(error: Exception) -> int:
    """Return the exit status that stands for an error."""
    if isinstance(error.__cause__, OSError):
        # What the operating system says of a path or an address that was given.
        return 1 if error.__cause__.errno in _MAY_PASS else _USAGE
    if isinstance(error, ChromaError):
        return _USAGE if isinstance(error, InvalidArgumentError) else 1
    return _USAGE if isinstance(error, ValueError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chroma-nb",
        description="A server for chroma_nb's and Chroma's clients.",
        epilog="Every setting is an environment variable, too: CHROMA_NB_...; see docs/settings.md.",
    )
    parser.add_argument("--version", action="version", version=f"chroma-nb {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="serve a folder to other processes, over HTTP unless CHROMA_NB_SERVER names another server",
    )
    run.set_defaults(run=_run)
    run.add_argument("folder", nargs="?", help=argparse.SUPPRESS)
    run.add_argument("--path", help="folder of the store; without it the store is in memory")
    run.add_argument("--host", help="address to serve on (127.0.0.1)")
    run.add_argument("--port", type=int, help="port to serve on (8000; 0 is any that is free)")
    run.add_argument(
        "--flight-port",
        type=int,
        metavar="PORT",
        help="serve Arrow Flight beside HTTP at this port (usually 8815; 0 is any that is free)",
    )
    run.add_argument("--auth", metavar="FILE", help="file of tokens and users: chroma-nb auth")
    run.add_argument(
        "--public",
        action="store_true",
        default=None,
        help="serve on a public address without authentication: a proxy in front of it authenticates",
    )
    run.add_argument("--memory", metavar="SIZE", help="memory budget: '2 GB', '25%%', auto")
    run.add_argument("--tls-certificate", metavar="FILE", help="serve HTTPS with this certificate")
    run.add_argument("--tls-key", metavar="FILE", help="the certificate's key")
    run.add_argument(
        "--tls-client-ca",
        metavar="FILE",
        help="serve only clients that show a certificate of this authority",
    )
    run.add_argument(
        "--allow-reset", action="store_true", default=None, help="let clients delete all"
    )
    run.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"], help="info"
    )

    worker = commands.add_parser(
        "worker",
        help="compute for stores that are opened with api='celery'",
        description="Embeds texts, and builds graphs, for stores that are opened with Settings(api='celery', celery_broker=URL). It "
        "opens no store itself. Needs the extra chroma-nb[celery].",
    )
    worker.set_defaults(run=_worker)
    worker.add_argument(
        "--broker",
        metavar="URL",
        help="amqp:// or redis:// (with TLS amqps:// and rediss://); without it CHROMA_NB_CELERY_BROKER",
    )
    worker.add_argument(
        "--backend", metavar="URL", help="where results are put; without it the broker"
    )
    worker.add_argument(
        "--concurrency",
        type=int,
        default=1,
        metavar="N",
        help="processes that compute (1, as a model uses all cores by itself)",
    )
    worker.add_argument(
        "--functions",
        action="append",
        default=[],
        metavar="MODULE",
        help="module to import, which registers embedding functions of your own; give it again for more",
    )
    worker.add_argument(
        "--stores",
        action="append",
        default=[],
        metavar="DIR",
        help="folder with stores in which graphs may be built; give it again for more",
    )
    worker.add_argument(
        "--nice",
        type=int,
        default=10,
        metavar="N",
        help="how far it stands back behind other processes of its machine, 0 to 19 (10)",
    )
    worker.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"], help="info"
    )

    check = commands.add_parser(
        "check",
        help="read a whole store, and say what of it is damaged",
        description="Reads everything in a store's folder, and says what is damaged. The exit status is 0 where "
        "all records are whole, 3 where some are damaged, 1 where the store cannot be opened, and 2 where "
        "DIR is no store or has something else in the place of one of its files. The store is opened as by a client: a log that a killed process has left is written into the database.",
    )
    check.set_defaults(run=_check)
    check.add_argument("folder", metavar="DIR", help="folder of the store; nobody may have it open")

    auth = commands.add_parser("auth", help="say who may use a server").add_subparsers(
        required=True, metavar="ACTION"
    )
    add = auth.add_parser("add", help="make a token, or a user with a password")
    add.set_defaults(run=_auth_add)
    add.add_argument("file", metavar="FILE", help="the file; it is made where it is missing")
    add.add_argument("name", help="whose it is")
    add.add_argument(
        "--tenant",
        action="append",
        metavar="TENANT",
        help="a tenant that it may use, made on its first use; give it again for more; '*' is admin of "
        "every tenant",
    )
    add.add_argument(
        "--password",
        action="store_true",
        help="a user with a password (asked for, or the first line of the input) instead of a token",
    )
    show = auth.add_parser("list", help="show whose credentials are in the file, and their ids")
    show.set_defaults(run=_auth_list)
    show.add_argument("file", metavar="FILE")
    remove = auth.add_parser("remove", help="take a credential away")
    remove.set_defaults(run=_auth_remove)
    remove.add_argument("file", metavar="FILE")
    remove.add_argument("name", help="whose it is")
    which = remove.add_mutually_exclusive_group()
    which.add_argument(
        "--token",
        metavar="ID",
        help="which one, by the beginning of its id in `chroma-nb auth list`",
    )
    which.add_argument("--all", action="store_true", help="all that the name has")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.folder is not None:
        raise InvalidArgumentError(
            f"{options.folder!r} has no option before it. For the folder of the store: --path {shlex.quote(options.folder)}."
        )
    for option in ("path", "host", "auth", "memory", "tls_certificate", "tls_key", "tls_client_ca"):
        if getattr(options, option) == "":
            # A shell's variable that is not set must not mean a server without authentication.
            name = option.replace("_", "-")
            raise InvalidArgumentError(f"--{name} is empty. Give a value, or leave it out.")
    given = {
        "path": options.path,
        "is_persistent": True if options.path else None,
        "server_host": options.host,
        "server_port": options.port,
        "server_flight_port": options.flight_port,
        "server_auth_file": options.auth and expand_path(options.auth),
        "server_public": options.public,
        "memory_budget": options.memory,
        "server_tls_certificate": options.tls_certificate,
        "server_tls_key": options.tls_key,
        "server_tls_client_ca": options.tls_client_ca,
        "allow_reset": options.allow_reset,
    }
    # A server is the store, wherever the environment sends its clients.
    chosen = Settings().api
    values: dict[str, Any] = {
        "api": LOCAL_API if is_remote(chosen) else chosen,
        "progress": False,
    }
    values.update({name: value for name, value in given.items() if value is not None})
    settings = factories.configure(**values)
    factories.server_class(settings).check_settings(settings)
    from chroma_nb.server.observability import log_to_stderr

    log_to_stderr(options.log_level)
    sys.setswitchinterval(_SWITCH_SECONDS)
    _allow_open_files()
    server = factories.get_server()
    budget = server.api.get_memory_budget()
    server.listen()
    everywhere = settings.server_host in ("0.0.0.0", "::")
    print(
        f"chroma-nb {__version__} serves {settings.place} on {' and '.join(server.urls)}"
        f"{' and every other address of this machine' if everywhere else ''} "
        f"(memory budget {format_bytes(budget)}). Ctrl-C stops it.",
        flush=True,
    )
    server.run()
    if server.is_held:
        # Everything is saved and closed. What is left would wait for as long as a client keeps its stream open.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


def _worker(options: argparse.Namespace) -> int:
    for option in ("broker", "backend"):
        if getattr(options, option) == "":
            raise InvalidArgumentError(f"--{option} is empty. Give a value, or leave it out.")
    try:
        from chroma_nb.tasks.worker import run_worker
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("celery", "kombu"):
            raise
        raise missing_package("chroma-nb worker", package, "celery") from error
    settings = Settings()
    return run_worker(
        options.broker or settings.celery_broker,
        options.backend or settings.celery_backend,
        settings.tls_verify,
        concurrency=options.concurrency,
        functions=options.functions,
        stores=options.stores,
        nice=options.nice,
        log_level=options.log_level,
    )


def _check(options: argparse.Namespace) -> int:
    from chroma_nb.client.opening import PersistentClient

    folder = expand_path(options.folder)
    # Where any of them is there, opening says what is missing.
    if not any(os.path.exists(os.path.join(folder, one)) for one in _FILES_OF_A_STORE):
        raise InvalidArgumentError(
            f"{options.folder!r} is not the folder of a store: it has none of "
            f"{', '.join(_FILES_OF_A_STORE)}."
        )
    # Compacting writes, and what is looked at should stay as it is.
    with PersistentClient(folder, Settings(api="local", compact_ratio=1.0)) as client:
        report = client.api.check(tenant=None, database=None)
    print(report)
    print(
        f"{format_bytes(report.n_bytes)} read in {report.seconds:.1f} s: "
        f"{'all is whole' if report.is_whole else 'damaged'}."
    )
    if any(one.damaged_ids for one in report.collections):
        print(
            "Without a backup: collection.export(path, skip_damaged=True) saves all other records, and "
            "collection.get(ids=[...]) has the documents and metadata of the damaged ones; client.check() names "
            "them all. Then give them new embeddings, or delete them (docs/storage.md, Repair)."
        )
    return 0 if report.is_whole else _DAMAGED


def _allow_open_files() -> None:
    """Take as many open files as the system allows without asking, up to what a server can use."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        # macOS allows less than it says.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _auth_add(options: argparse.Namespace) -> int:
    file = AuthFile(options.file)
    if not options.tenant:
        raise InvalidArgumentError(
            "Say which tenants it may use: --tenant NAME, or --tenant '*' for an admin."
        )
    if options.password:
        asked = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline()
        added = file.add_password(options.name, asked.rstrip("\r\n"), options.tenant)
        print(f"Added: {describe(added)}, for {', '.join(added.tenants)}.", file=sys.stderr)
    else:
        token = file.add_token(options.name, options.tenant)
        print(
            f"Token {token.split('_')[1]}, for {', '.join(options.tenant)}. It is", file=sys.stderr
        )
        print("shown once; only its hash is kept:", file=sys.stderr)
        print(token)
    return 0


def _auth_list(options: argparse.Namespace) -> int:
    rows = [("NAME", "KIND", "ID", "CREATED", "TENANTS")]
    for one in AuthFile(options.file).read():
        tenants = ", ".join(map(_printable, one.tenants))
        day = one.created[:10] or "unknown"
        rows.append((_printable(one.name), one.kind, one.id, day, tenants))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())
    return 0


def _printable(text: str) -> str:
    """Return a text that does nothing to a terminal."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _auth_remove(options: argparse.Namespace) -> int:
    removed = AuthFile(options.file).remove(options.name, options.token, all_of_them=options.all)
    for one in removed:
        print(f"Removed: {describe(one)}.")
    return 0
