"""Who may do what: tokens and users, hashed at rest, and the tenants that they may enter."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from chroma_nb.errors import AuthorizationError, ChromaAuthError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chroma_nb.settings import Settings

#: Of scrypt: 16 MB and some 50 ms for each guess (RFC 7914; OWASP's advice for passwords).
_N, _R, _P = 2**14, 8, 1
_SALT_BYTES = 16
#: A token is 256 random bits: nobody guesses it, so a plain SHA-256 keeps it.
_TOKEN_BYTES = 32
_EVERY_TENANT = "*"
#: The file is looked at again after so long, seconds.
_LOOK_AGAIN = 1.0
_MAX_REMEMBERED = 1_000


@dataclass(frozen=True)
class Identity:
    """Who asks.

    Attributes:
        name: The name of the token or the user; empty where there is no authentication.
        tenants: What it may enter. ``*`` means admin of every tenant: tenants, reset, budget, metrics.
    """

    name: str = ""
    tenants: tuple[str, ...] = (_EVERY_TENANT,)

    @property
    def is_admin(self) -> bool:
        """May it do what concerns every tenant?"""
        return _EVERY_TENANT in self.tenants

    def check_tenant(self, tenant: str) -> None:
        """Refuse a tenant that is not its own.

        Raises:
            ChromaAuthError: It is another's.
        """
        if not self.is_admin and tenant not in self.tenants:
            raise ChromaAuthError("Forbidden")

    def check_admin(self) -> None:
        """Refuse what concerns every tenant.

        Raises:
            ChromaAuthError: It may not.
        """
        if not self.is_admin:
            raise ChromaAuthError("Forbidden")


ANONYMOUS = Identity()


@dataclass
class Credential:
    """One line of the file: a token's or a password's hash, and whose it is."""

    name: str
    #: ``"token"`` or ``"password"``.
    kind: str
    #: SHA-256 of a token, or ``scrypt$salt$hash`` of a password, in hexadecimal.
    hash: str = field(repr=False)
    tenants: list[str]

    def identity(self) -> Identity:
        """Return whom it stands for."""
        return Identity(self.name, tuple(self.tenants))


class AuthFile:
    """Credentials in a JSON file that only its owner can read. Written whole, or not at all.

    Args:
        path: The file; it need not exist before the first credential is added.

    Raises:
        InvalidArgumentError: It is not such a file.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.expanduser(path)

    def read(self) -> list[Credential]:
        """Return the credentials that are in the file; none where there is no file."""
        try:
            with open(self.path, encoding="utf-8") as file:
                found = json.load(file)
            return [Credential(**one) for one in found["credentials"]]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError):
            raise InvalidArgumentError(
                f"{self.path!r} is not a file of credentials. `chroma-nb auth` writes such files."
            ) from None

    def add_token(self, name: str, tenants: list[str]) -> str:
        """Make a token, keep its hash, and return it: it is never shown again."""
        token = f"cnb_{secrets.token_urlsafe(_TOKEN_BYTES)}"
        self._add(Credential(name, "token", _digest(token), tenants))
        return token

    def add_password(self, name: str, password: str, tenants: list[str]) -> None:
        """Keep a user's password as a hash."""
        if ":" in name:
            raise InvalidArgumentError(f"Expected a user name without a colon, got {name!r}.")
        salt = secrets.token_bytes(_SALT_BYTES)
        kept = f"scrypt${salt.hex()}${_scrypt(password, salt).hex()}"
        self._add(Credential(name, "password", kept, tenants))

    def remove(self, name: str) -> int:
        """Take a name's credentials away and return how many there were."""
        found = self.read()
        kept = [one for one in found if one.name != name]
        self._write(kept)
        return len(found) - len(kept)

    def _add(self, credential: Credential) -> None:
        if not credential.name or not credential.tenants:
            raise InvalidArgumentError(
                "Expected a name, and at least one tenant ('*' is every one)."
            )
        # A name may have several tokens for a while: that is how one is rotated.
        self._write([*self.read(), credential])

    def _write(self, credentials: list[Credential]) -> None:
        folder = os.path.dirname(os.path.abspath(self.path))
        text = json.dumps({"credentials": [asdict(one) for one in credentials]}, indent=1)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".auth-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


class Authenticator:
    """Decides who a request comes from.

    Args:
        settings: `server_token` and `server_auth_file`; with neither, everybody may do everything.
    """

    def __init__(self, settings: Settings) -> None:
        self._file = AuthFile(settings.server_auth_file) if settings.server_auth_file else None
        self._fixed = []
        if settings.server_token:
            self._fixed = [Credential("token", "token", _digest(settings.server_token), ["*"])]
        self.is_open = self._file is None and not self._fixed
        self._lock = threading.Lock()
        self._looked = 0.0
        self._state: tuple[int, ...] = ()
        self._credentials: list[Credential] = list(self._fixed)
        #: Passwords that were found right, so that scrypt runs once for each; under a key of this process.
        self._key = secrets.token_bytes(32)
        self._remembered: dict[bytes, Identity] = {}
        self._look()

    def _look(self) -> None:
        """Read the file again if it changed."""
        if self._file is None:
            return
        try:
            found = os.stat(self._file.path)
            state: tuple[int, ...] = (found.st_mtime_ns, found.st_size, found.st_ino)
        except FileNotFoundError:
            # Nobody is let in without the file; that is safer than everybody.
            state = ()
        if state != self._state or not self._looked:
            self._credentials = [*self._fixed, *(self._file.read() if state else [])]
            self._state = state
            self._remembered.clear()

    def _current(self) -> list[Credential]:
        now = time.monotonic()
        if self._file is not None and now - self._looked > _LOOK_AGAIN:
            with self._lock:
                # A file that cannot be read now leaves what was read before.
                with contextlib.suppress(InvalidArgumentError, OSError):
                    self._look()
                self._looked = now
        return self._credentials

    def knows(self, headers: Mapping[str, str]) -> Identity | None:
        """Return who asks where that takes no time, None where `identify` has to be asked.

        Args:
            headers: Names in lower case.
        """
        if self.is_open:
            return ANONYMOUS
        token = _token_of(headers)
        if token is not None:
            return self._of_token(token)
        credentials = self._current()
        basic = headers.get("authorization", "")
        found = self._remembered.get(self._mark(basic)) if credentials else None
        if found is None and not basic.lower().startswith("basic "):
            raise AuthorizationError("Unauthorized: no token was shown.")
        return found

    def identify(self, headers: Mapping[str, str]) -> Identity:
        """Return who asks; may take as long as a password's check.

        Raises:
            AuthorizationError: Nobody that is known.
        """
        known = self.knows(headers)
        if known is not None:
            return known
        basic = headers.get("authorization", "")
        try:
            text = base64.b64decode(basic[6:].strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            raise AuthorizationError("Unauthorized: the credentials cannot be read.") from None
        name, _, password = text.partition(":")
        found: Credential | None = None
        known_name = False
        for one in self._current():
            if one.kind == "password" and hmac.compare_digest(one.name.encode(), name.encode()):
                known_name = True
                _, salt, kept = one.hash.split("$")
                made = _scrypt(password, bytes.fromhex(salt))
                if hmac.compare_digest(made, bytes.fromhex(kept)):
                    found = one
        if not known_name:
            # As long as for a name that is known: the time tells nothing.
            _scrypt(password, b"0" * _SALT_BYTES)
        if found is None:
            raise AuthorizationError("Unauthorized: unknown user or wrong password.")
        if len(self._remembered) >= _MAX_REMEMBERED:
            self._remembered.clear()
        identity = found.identity()
        self._remembered[self._mark(basic)] = identity
        return identity

    def _of_token(self, token: str) -> Identity:
        digest = _digest(token)
        found: Credential | None = None
        for one in self._current():
            # Every one is compared, each in constant time.
            if one.kind == "token" and hmac.compare_digest(one.hash, digest):
                found = one
        if found is None:
            raise AuthorizationError("Unauthorized: the token is not known.")
        return found.identity()

    def _mark(self, basic: str) -> bytes:
        return hmac.digest(self._key, basic.encode(), "sha256")


def _token_of(headers: Mapping[str, str]) -> str | None:
    shown = headers.get("x-chroma-token")
    if shown is None:
        kind, _, shown = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
    shown = shown.strip()
    return shown.removeprefix("Bearer ").strip()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_N, r=_R, p=_P, maxmem=2**26, dklen=32)
