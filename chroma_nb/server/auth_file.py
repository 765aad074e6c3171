"""`AuthFile`: names, the hashes of their tokens and passwords, and the tenants that each may use.

The file is replaced as a whole, under a lock. A new one can be read only by its owner.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import hashlib
import hmac
import json
import os
import re
import secrets
import shlex
import stat
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chroma_nb.errors import InternalError, InvalidArgumentError, NotFoundError
from chroma_nb.flush import flush_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: In place of a tenant's name: admin of every tenant.
EVERY_TENANT = "*"
#: Parameters of scrypt: 16 MB and some 50 ms for each guess (RFC 7914; OWASP's advice for passwords).
_N, _R, _P = 2**14, 8, 1
_SALT_BYTES = 16
#: A token is 256 random bits, which nobody can guess. So a plain SHA-256 of it is enough.
_TOKEN_BYTES = 32
_MIN_PASSWORD = 8
#: The shortest name of a tenant; a server makes none with a shorter one.
_MIN_TENANT = 3
_ID_LETTERS = 8
#: A larger file is no auth file: 10,000 credentials take 3 MB.
_MAX_BYTES = 8_000_000
#: How long a writer waits for another one.
_LOCK_SECONDS = 10.0
#: The clock of a file system may go in steps of two seconds (FAT), nanoseconds.
_CLOCK_TICK = 2 * 10**9

_TOKEN_HASH = re.compile(r"[0-9a-f]{64}")
_PASSWORD_HASH = re.compile(r"scrypt\$((?:[0-9a-f]{2}){8,})\$([0-9a-f]{64})")
_ID = re.compile(r"[0-9A-Za-z]{4,64}")
_MEMBERS = ("name", "kind", "hash", "tenants", "id", "created")


@dataclass(frozen=True)
class Credential:
    """A token's or a password's hash, and whose it is.

    Attributes:
        name: Whose it is; a name may have several, so that one can be replaced without a break.
        kind: ``"token"`` or ``"password"``.
        hash: SHA-256 of a token, or ``scrypt$salt$hash`` of a password, in hexadecimal.
        tenants: What it may use; ``*`` means admin of every tenant.
        id: Tells it from others of the same name. It is part of the token's text, and no part of its secret.
        created: When it was added (UTC, ISO 8601); empty in files of older versions.
    """

    name: str
    kind: str
    hash: str = field(repr=False)
    tenants: tuple[str, ...]
    id: str = ""
    created: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return its object in the file."""
        known = {"id": self.id, "created": self.created}
        return {
            "name": self.name,
            "kind": self.kind,
            "hash": self.hash,
            "tenants": list(self.tenants),
            **{key: value for key, value in known.items() if value},
        }


@dataclass(frozen=True)
class FileBytes:
    """The bytes of the file when it was read.

    Attributes:
        data: The bytes.
        stamp: The file's times, size and identity when it was read; see `AuthFile.stamp`.
        settled: An equal stamp means equal bytes. False right after a change, when another change might get the same
            time from the file system's clock.
    """

    data: bytes = field(repr=False)
    stamp: tuple[int, ...]
    settled: bool


class AuthFile:
    """Credentials in a JSON file.

    Args:
        path: The file; it need not exist before the first credential is added.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.expanduser(path)

    # -- reading ------------------------------------------------------------------------------

    def stamp(self) -> tuple[int, ...] | None:
        """Return the file's times, size and identity, which change when the file does; None where it is missing."""
        try:
            return _stamp(os.stat(self.path))
        except (OSError, ValueError):
            return None

    def read(self) -> list[Credential]:
        """Return the credentials that are in the file.

        Raises:
            InvalidArgumentError: It is missing, cannot be read, or is no auth file.
        """
        return list(self.parse(self.read_bytes().data))

    def read_bytes(self) -> FileBytes:
        """Return the file's bytes and its stamp.

        Raises:
            InvalidArgumentError: It is missing or cannot be read.
        """
        try:
            # Non-blocking: the server must not wait for a pipe in the file's place.
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            handle = os.open(self.path, flags | getattr(os, "O_CLOEXEC", 0))
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from None
        try:
            found = os.fstat(handle)
            if stat.S_ISDIR(found.st_mode):
                raise self._unreadable(IsADirectoryError(errno.EISDIR, "Is a directory"))
            if not stat.S_ISREG(found.st_mode):
                raise self._wrong("it is no regular file")
            if found.st_size > _MAX_BYTES:
                raise self._wrong(f"it has {found.st_size:,} bytes, more than {_MAX_BYTES:,}")
            with os.fdopen(handle, "rb", closefd=False) as file:
                data = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise self._unreadable(error) from None
        finally:
            os.close(handle)
        age = time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns)
        return FileBytes(data, _stamp(found), age > _CLOCK_TICK)

    def parse(self, data: bytes) -> list[Credential]:
        """Return the credentials that the file's bytes describe.

        Raises:
            InvalidArgumentError: They are not those of an auth file.
        """
        if not data.strip():
            raise self._wrong("it is empty")
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            raise self._wrong("it is not JSON") from None
        if not isinstance(found, dict) or not isinstance(found.get("credentials"), list):
            raise self._wrong('expected {"credentials": [...]}')
        credentials = []
        for number, one in enumerate(found["credentials"], start=1):
            try:
                credentials.append(_credential(one))
            except ValueError as error:
                raise self._wrong(f"credential {number}: {error}") from None
        return credentials

    def _wrong(self, why: str) -> InvalidArgumentError:
        return InvalidArgumentError(
            f"{self.path!r} is not a usable auth file: {why}. Mend it, or move it away and make a new one "
            "with `chroma-nb auth add`."
        )

    def _unreadable(self, error: Exception) -> InvalidArgumentError:
        if isinstance(error, FileNotFoundError):
            return InvalidArgumentError(
                f"The auth file {self.path!r} does not exist. "
                f"`chroma-nb auth add {self.path} NAME --tenant TENANT` makes it."
            )
        if isinstance(error, IsADirectoryError):
            return InvalidArgumentError(
                f"{self.path!r} is a folder. Name the auth file in it, which `chroma-nb auth add` makes."
            )
        if isinstance(error, PermissionError):
            return InvalidArgumentError(
                f"The user {_user()!r} may not read the auth file {self.path!r}. "
                f"Make that user its owner (chown), or name another file."
            )
        why = getattr(error, "strerror", None) or error
        return InvalidArgumentError(
            f"Cannot read the auth file {self.path!r}: {why}. Name another file."
        )

    # -- writing ------------------------------------------------------------------------------

    def add_token(self, name: str, tenants: Sequence[str]) -> str:
        """Make a token, keep its hash, and return it: ``cnb_ID_SECRET``. It is never shown again.

        Raises:
            InvalidArgumentError: The name or a tenant cannot be used, or the file is no auth file.
            OSError: The file cannot be written.
        """
        secret = secrets.token_urlsafe(_TOKEN_BYTES)

        def new(identifier: str) -> Credential:
            kept = token_hash(_token(identifier, secret))
            return Credential(name, "token", kept, tuple(tenants), identifier, _now())

        return _token(self._add(name, tenants, new).id, secret)

    def add_password(self, name: str, password: str, tenants: Sequence[str]) -> Credential:
        """Keep a user's password as a hash.

        Raises:
            InvalidArgumentError: The name, the password or a tenant cannot be used, or the file is no
                auth file.
            OSError: The file cannot be written.
        """
        if ":" in name:
            raise InvalidArgumentError(f"Expected a user name without a colon, got {name!r}.")
        if len(password) < _MIN_PASSWORD:
            raise InvalidArgumentError(
                f"Expected a password of at least {_MIN_PASSWORD} characters, got {len(password)}."
            )
        salt = secrets.token_bytes(_SALT_BYTES)
        kept = f"scrypt${salt.hex()}${_scrypt(password, salt).hex()}"
        return self._add(
            name,
            tenants,
            lambda identifier: Credential(
                name, "password", kept, tuple(tenants), identifier, _now()
            ),
        )

    def remove(
        self, name: str, identifier: str | None = None, *, all_of_them: bool = False
    ) -> list[Credential]:
        """Take credentials of a name away, and return them.

        Args:
            name: Whose they are.
            identifier: The beginning of the id of the one to remove; None where the name has one alone.
            all_of_them: Remove all that the name has.

        Raises:
            NotFoundError: There is none.
            InvalidArgumentError: There are several, and the arguments do not say which one; or the file is
                missing or no auth file.
            OSError: The file cannot be written.
        """
        with self._locked():
            found = self.read()
            theirs = [one for one in found if one.name == name]
            if not theirs:
                raise NotFoundError(f"{self.path!r} has no credentials of {name!r}.")
            listed = "; ".join(describe(one) for one in theirs)
            chosen = theirs
            if identifier is not None:
                chosen = [one for one in theirs if identifier and one.id.startswith(identifier)]
                if not chosen:
                    raise NotFoundError(
                        f"No credential of {name!r} has an id that begins with {identifier!r}. There are: "
                        f"{listed}."
                    )
            if len(chosen) > 1 and not all_of_them and identifier is not None:
                raise InvalidArgumentError(
                    f"--token {identifier!r} fits {len(chosen)} ids of {name!r}: "
                    f"{'; '.join(describe(one) for one in chosen)}. Give more of the id."
                )
            if len(chosen) > 1 and not all_of_them:
                raise InvalidArgumentError(
                    f"{name!r} has {len(theirs)} credentials: {listed}. Say which one to remove with "
                    "--token ID, or --all."
                )
            self._write([one for one in found if one not in chosen])
        return chosen

    def _add(
        self, name: str, tenants: Sequence[str], new: Callable[[str], Credential]
    ) -> Credential:
        check_name(name)
        for tenant in check_tenants(list(tenants)):
            _check_new_tenant(tenant)
        with self._locked():
            found = self.read() if os.path.lexists(self.path) else []
            taken = {one.id for one in found}
            identifier = next(made for made in iter(_new_id, None) if made not in taken)
            added = new(identifier)
            self._write([*found, added])
        return added

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other writers out while the file is read, changed and replaced.

        Raises:
            InvalidArgumentError: The file is a link, or its folder is missing or may not be written.
            InternalError: Another writer does not end.
        """
        if os.path.islink(self.path):
            raise InvalidArgumentError(
                f"{self.path!r} is a link to {os.path.realpath(self.path)!r}. Name the file itself: the "
                "link would be replaced."
            )
        folder, name = os.path.split(os.path.abspath(self.path))
        # The lock is on a file of its own, as each writer replaces the auth file.
        path = os.path.join(folder, f".{name}.lock")
        flags = os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        try:
            handle = os.open(path, os.O_RDWR | flags, 0o644)
        except FileNotFoundError:
            # The folder is not made here: the server's user has to own it, and the path may be mistyped.
            raise InvalidArgumentError(
                f"The folder {folder!r} does not exist. Make it first, as the user who runs the server: "
                f"`mkdir -p {shlex.quote(folder)}`."
            ) from None
        except PermissionError:
            try:
                # Another user has made the lock file. It can be locked without the right to write to it.
                handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            except FileNotFoundError:
                raise InvalidArgumentError(
                    f"The user {_user()!r} may not write in the folder {folder!r}. Run the command as the "
                    "folder's owner, or name a file in another folder."
                ) from None
        try:
            self._take(handle)
            yield
        finally:
            os.close(handle)

    def _take(self, handle: int) -> None:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                _lock(handle)
            except (BlockingIOError, PermissionError):
                if time.monotonic() > deadline:
                    raise InternalError(
                        f"Another process has been writing {self.path!r} for {_LOCK_SECONDS:g} s. Try again "
                        "when it has ended."
                    ) from None
                time.sleep(0.01)
            except OSError:
                warnings.warn(
                    f"The file system of {self.path!r} has no locks: change the file from one place at a "
                    "time.",
                    stacklevel=4,
                )
                return
            else:
                return

    def _write(self, credentials: Sequence[Credential]) -> None:
        folder = os.path.dirname(os.path.abspath(self.path))
        text = json.dumps({"credentials": [one.to_json() for one in credentials]}, indent=1)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".auth-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                self._keep_owner(file.fileno())
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        flush_folder(folder)

    def _keep_owner(self, handle: int) -> None:
        """Give the new file the old one's owner and group: the server often runs as another user.

        Raises:
            PermissionError: The old file is another user's, who could not read the new one.
        """
        if sys.platform == "win32":
            return
        try:
            before = os.stat(self.path)
        except FileNotFoundError:
            return
        made = os.fstat(handle)
        if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
            try:
                os.fchown(handle, before.st_uid, before.st_gid)
            except PermissionError:
                if made.st_uid != before.st_uid:
                    raise PermissionError(
                        errno.EPERM, f"Only its owner may change it, not {_user()!r}", self.path
                    ) from None
        # The right of the group to read stays. Others never get one.
        os.fchmod(handle, 0o600 | stat.S_IMODE(before.st_mode) & 0o040)


# -- one credential -------------------------------------------------------------------------------


def check_name(name: object) -> None:
    """Check that a name can be shown and sent.

    Raises:
        InvalidArgumentError: It is no text, is empty, or has characters that are not printable.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise InvalidArgumentError(f"Expected a name of printable characters, got {name!r:.80}.")


def check_tenants(tenants: object) -> tuple[str, ...]:
    """Check a list of tenants and return it as a tuple.

    Raises:
        InvalidArgumentError: They are no list of names, or one of them is a pattern.
    """
    if not isinstance(tenants, list) or not tenants:
        raise InvalidArgumentError(
            f'Expected `tenants` to be a list such as ["acme"] or ["*"], got {tenants!r:.80}'
        )
    for one in tenants:
        if not isinstance(one, str) or not one:
            raise InvalidArgumentError(f"Expected a tenant to be a name, got {one!r:.80}")
        if EVERY_TENANT in one and one != EVERY_TENANT:
            raise InvalidArgumentError(
                f"Expected a tenant's whole name, or '*' alone for every tenant, got {one!r:.80}"
            )
    return tuple(tenants)


def describe(credential: Credential) -> str:
    """Return a short text for lists of credentials: ``token 3f9ac1e0 of 2026-01-31``."""
    day = f" of {credential.created[:10]}" if credential.created else ""
    return f"{credential.kind} {credential.id}{day}"


def _credential(given: object) -> Credential:
    """Return a credential that a file describes.

    Raises:
        ValueError: It describes no credential.
    """
    if not isinstance(given, dict):
        raise ValueError(f"expected an object, got {given!r:.40}")
    unknown = [key for key in given if key not in _MEMBERS]
    if unknown:
        raise ValueError(f"unknown member {unknown[0]!r:.40}; known: {', '.join(_MEMBERS)}")
    name, kind = given.get("name"), given.get("kind")
    kept: Any = given.get("hash")
    if not isinstance(name, str) or not name:
        raise ValueError(f"expected `name` to be a text, got {name!r:.40}")
    # The wrong value of `hash` is not shown: it may be a token or a password that was put there by mistake.
    if kind == "token":
        if not isinstance(kept, str) or not _TOKEN_HASH.fullmatch(kept):
            raise ValueError("expected `hash` to be 64 hexadecimal digits")
        short = kept[:_ID_LETTERS]
    elif kind == "password":
        found = _PASSWORD_HASH.fullmatch(kept) if isinstance(kept, str) else None
        if found is None:
            raise ValueError("expected `hash` to be scrypt$SALT$HASH in hexadecimal")
        short = found[1][:_ID_LETTERS]
    else:
        raise ValueError(f"expected `kind` to be 'token' or 'password', got {kind!r:.40}")
    identifier = given.get("id", short)
    if not isinstance(identifier, str) or not _ID.fullmatch(identifier):
        raise ValueError(f"expected `id` to be letters and digits, got {identifier!r:.40}")
    created = given.get("created", "")
    if not isinstance(created, str) or not created.isascii() or not created.isprintable():
        raise ValueError(f"expected `created` to be a date, got {created!r:.40}")
    return Credential(name, kind, kept, check_tenants(given.get("tenants")), identifier, created)


def check_token(token: str) -> None:
    """Check that a client can send a token.

    Raises:
        InvalidArgumentError: It has blanks around it, or characters that are not printable.
    """
    if token != token.strip() or not token.isprintable():
        raise InvalidArgumentError(
            "server_token has a blank or a line's end at its beginning or its end, or characters that are "
            "not printed: no client can show it. Take them away."
        )


def token_hash(token: str) -> str:
    """Return the hash of a token that the file keeps."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def check_password(password: str, credential: Credential | None) -> bool:
    """Say whether a password is that of a credential; for None the answer is False after the same time."""
    salt, kept = b"\0" * _SALT_BYTES, b"\0" * 32
    if credential is not None:
        _, salt_text, kept_text = credential.hash.split("$")
        salt, kept = bytes.fromhex(salt_text), bytes.fromhex(kept_text)
    return hmac.compare_digest(_scrypt(password, salt), kept) and credential is not None


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_N, r=_R, p=_P, maxmem=2**26, dklen=32)


def _check_new_tenant(tenant: str) -> None:
    if tenant != EVERY_TENANT and (len(tenant) < _MIN_TENANT or not tenant.isprintable()):
        raise InvalidArgumentError(
            f"Expected a tenant's name of at least {_MIN_TENANT} printable characters, got {tenant!r:.80}."
        )


def _token(identifier: str, secret: str) -> str:
    return f"cnb_{identifier}_{secret}"


def _new_id() -> str:
    return secrets.token_hex(_ID_LETTERS // 2)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


# -- the operating system -------------------------------------------------------------------------


def _stamp(found: os.stat_result) -> tuple[int, ...]:
    return (
        *(found.st_mtime_ns, found.st_ctime_ns, found.st_size),
        *(found.st_ino, found.st_dev, found.st_mode, found.st_uid, found.st_gid),
    )


def _user() -> str:
    """Return the name of the user whose rights this process has."""
    if sys.platform == "win32":
        return os.environ.get("USERNAME", "")
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
