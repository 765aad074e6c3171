"""Where a server is, and what it is shown: from the settings, for every transport."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from chroma_nb.errors import InvalidArgumentError, ServerUnavailableError
from chroma_nb.settings import without_secrets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chroma_nb.errors import ChromaError
    from chroma_nb.settings import Settings
    from chroma_nb.wire.text import TooManyValuesError


def parts_of(settings: Settings, schemes: Sequence[str]) -> tuple[SplitResult, str]:
    """Return the parts of `Settings.url`, and its host and port as a URL has them.

    Args:
        settings: The settings.
        schemes: The schemes that it may have.

    Raises:
        InvalidArgumentError: It is no address of a server.
    """
    parts = urlsplit(settings.url)
    if parts.scheme not in schemes or not parts.hostname:
        raise InvalidArgumentError(
            f"Expected a server's address such as '{schemes[0]}://host:8000', got "
            f"{without_secrets(settings.url)!r}."
        )
    try:
        port = parts.port
    except ValueError:
        raise InvalidArgumentError(
            f"Expected a port from 1 to 65535 in {without_secrets(settings.url)!r}."
        ) from None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return parts, host if port is None else f"{host}:{port}"


def shown_headers(settings: Settings, parts: SplitResult) -> dict[str, str]:
    """Return the headers by which a server knows who asks, and those of `Settings.headers`.

    Raises:
        InvalidArgumentError: They contradict each other, or cannot be sent.
    """
    credentials: dict[str, str] = {}
    token, basic = _credentials(settings, parts)
    if basic:
        if ":" not in basic:
            raise InvalidArgumentError("Expected basic_auth to be 'user:password'.")
        credentials["Authorization"] = f"Basic {base64.b64encode(basic.encode()).decode()}"
    if token:
        credentials[settings.token_header] = f"Bearer {token}" if _is_bearer(settings) else token
    more = _more_headers(settings.headers)
    for name in more:
        if name.lower() in (known.lower() for known in credentials):
            raise InvalidArgumentError(
                f"headers holds {name!r}, which token or basic_auth sets as well. Leave one of them out "
                "(token='' where the environment has CHROMA_NB_TOKEN)."
            )
    headers = {**credentials, **more}
    for name, value in headers.items():
        if any(character in value for character in "\r\n\0") or not value.isascii():
            raise InvalidArgumentError(
                f"The header {name!r} holds a line break or a character that HTTP cannot carry."
            )
    return headers


def refused(url: str, shows_credentials: bool, error: ChromaError) -> ChromaError:
    """Return the error of a server that does not let its client in.

    Args:
        url: The server's address.
        shows_credentials: Whether the client has shown any.
        error: What the server said.
    """
    shown = "what was shown to it" if shows_credentials else "to go on without a token"
    return type(error)(
        f"The server at {url} refuses {shown}: {error}. Pass connect(..., token=...) or basic_auth=..., or set "
        "CHROMA_NB_TOKEN."
    )


def too_many_values(
    url: str, settings: Settings, error: TooManyValuesError
) -> ServerUnavailableError:
    """Return the error for an answer of JSON whose objects would take too much memory."""
    return ServerUnavailableError(
        f"The answer of the server at {url} holds {error}, which are what one of {settings.max_answer} may hold "
        "(Settings.max_answer). Ask for less at a time: limit= and offset=."
    )


def gone(url: str, reason: str, was_sent: bool) -> ServerUnavailableError:
    """Return the error of a server that has answered before, and accepts no connections any more.

    Args:
        url: The server's address.
        reason: What the system says of it.
        was_sent: Whether the request may have reached the server before.
    """
    state = (
        "A write of this call may be there or not: look before you repeat it."
        if was_sent
        else "Nothing of this call was sent."
    )
    return ServerUnavailableError(
        f"The server at {url} answered before and does not any more: {reason}. It has ended, or is being restarted. Its "
        f"log may say why; where the system ended it for lack of memory, nothing is there. {state}"
    )


def _is_bearer(settings: Settings) -> bool:
    return settings.token_header.lower() == "authorization"


def _credentials(settings: Settings, parts: SplitResult) -> tuple[str, str]:
    """Return the token, and user and password, that requests show.

    Raises:
        InvalidArgumentError: There are both, and one header to show them in.
    """
    token, basic = settings.token, settings.basic_auth
    is_in_url = not basic and parts.username is not None
    if is_in_url:
        basic = f"{parts.username}:{parts.password or ''}"
    if not (token and basic and _is_bearer(settings)):
        return token, basic
    where = "a user in the address" if is_in_url else "basic_auth"
    raise InvalidArgumentError(
        f"Expected a token or a user with a password, got both: token and {where}. Leave one of them out "
        "(token='' where the environment has CHROMA_NB_TOKEN), or show the token in a header of its own: "
        "Settings(token_header='X-Chroma-Token')."
    )


def _more_headers(text: str) -> dict[str, str]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise InvalidArgumentError(
            'Expected headers to be a JSON object of texts: {"X-Name": "value"}.'
        )
    return found
