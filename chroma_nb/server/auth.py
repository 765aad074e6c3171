"""`Authenticator`: finds out who sends a request, by comparing its token or password with the auth file."""

from __future__ import annotations

import asyncio
import base64
import binascii
import concurrent.futures
import hashlib
import hmac
import os
import secrets
import threading
import weakref
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chroma_nb.errors import AuthorizationError, ChromaAuthError, InvalidArgumentError
from chroma_nb.server.auth_file import (
    EVERY_TENANT,
    AuthFile,
    Credential,
    check_password,
    check_token,
    token_hash,
)
from chroma_nb.server.observability import LOGGER
from chroma_nb.server.refusals import STOPPING, busy

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from chroma_nb.server.auth_file import FileBytes
    from chroma_nb.settings import Settings

#: At most this many correct passwords are remembered.
_MAX_VERIFIED = 1_000
#: One core in this many may check passwords, so that guesses do not slow down authenticated requests.
_CORES_PER_CHECK = 4
#: At most this many tenants are named in a refusal.
_NAMED_TENANTS = 5


@dataclass(frozen=True)
class Identity:
    """Who sends a request.

    Attributes:
        name: The name of the token or the user; empty where there is no authentication.
        tenants: The tenants that it may use. ``*`` means admin: every tenant, and making tenants, reset, budget,
            metrics.
    """

    name: str = ""
    tenants: tuple[str, ...] = (EVERY_TENANT,)

    @property
    def is_admin(self) -> bool:
        """It may do what concerns every tenant."""
        return EVERY_TENANT in self.tenants

    def is_named_for(self, tenant: str) -> bool:
        """Say whether its credential names this tenant itself; ``*`` does not count."""
        return tenant in self.tenants and tenant != EVERY_TENANT

    def check_tenant(self, tenant: str) -> None:
        """Refuse a tenant that it may not use.

        Raises:
            ChromaAuthError: It may not. The message names the caller's tenants, and does not tell whether the other
                tenant exists.
        """
        if not self.is_admin and tenant not in self.tenants:
            named = ", ".join(f"{one!r:.80}" for one in self.tenants[:_NAMED_TENANTS])
            more = len(self.tenants) - _NAMED_TENANTS
            raise ChromaAuthError(
                f"Forbidden: {self.name!r:.80} may use the tenants [{named}{f' and {more:,} more' if more > 0 else ''}], "
                f"not {tenant!r:.80}. Connect with one of these as tenant=..., or ask an admin of the server for a "
                "credential of that tenant"
            )

    def check_admin(self, what: str) -> None:
        """Refuse what concerns every tenant.

        Args:
            what: What is to be done, for the message: "reset the store".

        Raises:
            ChromaAuthError: It may not.
        """
        if not self.is_admin:
            raise ChromaAuthError(
                f"Forbidden: only an admin (a credential with --tenant '*') may {what}, not {self.name!r:.80}"
            )


#: Who sends a request where there is no authentication.
ANONYMOUS = Identity()


@dataclass(frozen=True)
class Login:
    """A name and a password that a request shows."""

    name: str
    password: str = field(repr=False)


class _State:
    """The credentials of one state of the auth file. A changed file gets a new `_State`, which remembers no password.

    Args:
        credentials: The credentials that count.
        key: A random key of this process, with which remembered passwords are hashed.
    """

    def __init__(self, credentials: Iterable[Credential], key: bytes) -> None:
        self.tokens: dict[str, Identity] = {}
        self.passwords: dict[str, list[Credential]] = defaultdict(list)
        for one in credentials:
            if one.kind == "token":
                self.tokens[one.hash] = Identity(one.name, one.tenants)
            else:
                self.passwords[one.name].append(one)
        #: Hashes that every check computes, whatever the name, so that its time does not tell which names exist.
        self.n_hashes = max(map(len, self.passwords.values()), default=0)
        self._key = key
        self._verified: dict[bytes, Identity] = {}

    def verified(self, login: Login) -> Identity | None:
        """Return whose password this is, if it was checked before in this state of the file."""
        return self._verified.get(self._mark(login)) if self._verified else None

    def check(self, login: Login) -> Credential | None:
        """Return the credential whose password this is. Takes about 50 ms."""
        theirs = self.passwords.get(login.name, [])
        found = None
        for number in range(self.n_hashes):
            one = theirs[number] if number < len(theirs) else None
            if check_password(login.password, one):
                found = one
        return found

    def remember(self, login: Login, credential: Credential) -> Identity | None:
        """Remember a correct password and return whose it is; None where the file no longer has the credential."""
        if credential not in self.passwords.get(login.name, []):
            return None
        if len(self._verified) >= _MAX_VERIFIED:
            self._verified.clear()
        identity = Identity(credential.name, credential.tenants)
        self._verified[self._mark(login)] = identity
        return identity

    def _mark(self, login: Login) -> bytes:
        return hmac.digest(self._key, f"{login.name}:{login.password}".encode(), "sha256")


class Authenticator:
    """Finds out who sends a request.

    The file is checked for each request, so a change counts at once. While the file cannot be used, its credentials
    are refused.

    Args:
        settings: `server_token` and `server_auth_file`; with neither, everybody may do everything.

    Raises:
        InvalidArgumentError: The file is missing, cannot be read or is no auth file, or the token has characters
            that no client could send.
    """

    def __init__(self, settings: Settings) -> None:
        self._file = AuthFile(settings.server_auth_file) if settings.server_auth_file else None
        self._fixed: list[Credential] = []
        if settings.server_token:
            check_token(settings.server_token)
            kept = token_hash(settings.server_token)
            self._fixed = [Credential("token", "token", kept, (EVERY_TENANT,))]
        #: There is no authentication.
        self.is_open = self._file is None and not self._fixed
        #: Counts the states of the file.
        self.version = 0
        self._lock = threading.Lock()
        self._key = secrets.token_bytes(32)
        self._state = _State(self._fixed, self._key)
        #: What was read last; None after a failure to read.
        self._read: FileBytes | None = None
        self._digest = b""
        self._problem = ""
        if self._file is not None:
            self._refresh(self._file)
            if self._problem:
                raise InvalidArgumentError(self._problem)
            if not self._state.tokens and not self._state.passwords:
                LOGGER.warning(
                    "The auth file %r has no credentials: nobody may use this server until `chroma-nb auth "
                    "add` has added one.",
                    self._file.path,
                )

    def identify(self, headers: Mapping[str, str]) -> Identity | Login:
        """Return who sends a request, or the password that `check` has to check first.

        Args:
            headers: The request's headers, names in lower case.

        Raises:
            AuthorizationError: The token or user is not known, or there is none.
        """
        if self.is_open:
            return ANONYMOUS
        state = self._current()
        token = _token_of(headers)
        if token is not None:
            known = state.tokens.get(token_hash(token))
            if known is None:
                raise self._unauthorized("the token is not known")
            return known
        login = _login_of(headers)
        if login is None:
            raise self._unauthorized("no token was shown")
        if not state.n_hashes:
            # Nobody has a password. That is no secret, so no time is spent on hiding it.
            raise self._unauthorized("unknown user or wrong password")
        return state.verified(login) or login

    def check(self, login: Login) -> Identity:
        """Return whose password this is. Takes about 50 ms; see `PasswordQueue`.

        Raises:
            AuthorizationError: The user is not known, or the password is wrong.
        """
        found = self._current().check(login)
        # The file may have changed during the check: only its present state counts.
        identity = None if found is None else self._current().remember(login, found)
        if identity is None:
            raise self._unauthorized("unknown user or wrong password")
        return identity

    def current_version(self) -> int:
        """Check whether the file has changed; return the number of its state, which grows with each change."""
        if not self.is_open:
            self._current()
        return self.version

    def _unauthorized(self, why: str) -> AuthorizationError:
        if self._problem:
            why = "the server's auth file cannot be used now"
        # Without a full stop: the client, which knows what it was given, adds what to do.
        return AuthorizationError(f"Unauthorized: {why}")

    def _current(self) -> _State:
        file = self._file
        if file is not None:
            with self._lock:
                read = self._read
                if read is None or not read.settled or file.stamp() != read.stamp:
                    self._refresh(file)
        return self._state

    def _refresh(self, file: AuthFile) -> None:
        """Read the file and, where it has changed, use its new credentials."""
        try:
            read = file.read_bytes()
        except InvalidArgumentError as error:
            self._read, digest, credentials, problem = None, b"", [], str(error)
        else:
            self._read, digest = read, hashlib.sha256(read.data).digest()
            if digest == self._digest:
                return
            try:
                credentials, problem = file.parse(read.data), ""
            except InvalidArgumentError as error:
                credentials, problem = [], str(error)
        if digest == self._digest and problem == self._problem:
            return
        first = not self.version
        self.version += 1
        self._digest, self._problem = digest, problem
        self._state = _State([*self._fixed, *credentials], self._key)
        if first:
            return
        if problem:
            LOGGER.error("%s Its credentials are refused until it is right again.", problem)
        else:
            LOGGER.info(
                "The auth file %r has changed; credentials: %d.", file.path, len(credentials)
            )


class PasswordQueue:
    """Checks passwords in threads of its own, so that guesses do not delay requests that need no check.

    Each address has at most one check in the queue. So a new password waits for the guesses that its own address
    sent before, and then for at most one check of each other address. A password that several requests of one address
    show at once is checked once.

    Args:
        authenticator: Checks a password.
    """

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        n_threads = max(1, (os.cpu_count() or 1) // _CORES_PER_CHECK)
        self._threads = concurrent.futures.ThreadPoolExecutor(n_threads, "chroma_nb passwords")
        self._turns = asyncio.Semaphore(n_threads)
        self._lanes: weakref.WeakValueDictionary[Hashable, asyncio.Lock] = (
            weakref.WeakValueDictionary()
        )
        self._is_closed = False

    async def check(
        self, login: Login, headers: Mapping[str, str], address: str, before: Callable[[], None]
    ) -> Identity:
        """Return whose password this is.

        Args:
            login: The name and the password.
            headers: The request's headers.
            address: The address that the request comes from.
            before: Called before the check; raises where the client has gone meanwhile.

        Raises:
            AuthorizationError: The user is not known, or the password is wrong.
            Refused: The server is stopping.
        """
        of_login, of_address = self._lane((address, login)), self._lane(address)
        async with of_login, of_address, self._turns:
            before()
            # The check before may have been of the same password.
            found = self._authenticator.identify(headers)
            if isinstance(found, Identity):
                return found
            if self._is_closed:
                raise busy(STOPPING)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._authenticator.check, login)

    def close(self) -> None:
        """End the threads; passwords that wait to be checked are refused. Called by any thread."""
        self._is_closed = True
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _lane(self, key: Hashable) -> asyncio.Lock:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = asyncio.Lock()
        return lane


def _token_of(headers: Mapping[str, str]) -> str | None:
    shown = headers.get("x-chroma-token")
    if shown is None:
        kind, _, shown = headers.get("authorization", "").strip().partition(" ")
        if kind.lower() != "bearer":
            return None
    shown = shown.strip()
    return shown.removeprefix("Bearer ").strip()


def _login_of(headers: Mapping[str, str]) -> Login | None:
    """Return the name and the password that a request shows, None where it shows none.

    Raises:
        AuthorizationError: They cannot be read.
    """
    kind, _, shown = headers.get("authorization", "").strip().partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        text = base64.b64decode(shown.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise AuthorizationError("Unauthorized: the credentials cannot be read") from None
    name, _, password = text.partition(":")
    return Login(name, password)
