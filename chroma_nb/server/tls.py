"""A server's certificate and key, and whose certificates its clients must show, checked before it opens a port."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from chroma_nb.settings import Settings


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context of the files that the settings name; see `tls_context`."""
    return tls_context(
        settings.server_tls_certificate, settings.server_tls_key, settings.server_tls_client_ca
    )


def tls_context(certificate: str, key: str, client_ca: str = "") -> ssl.SSLContext | None:
    """Return the TLS context of a certificate and its key; None where nothing is given.

    Args:
        certificate: File of the server's certificate chain.
        key: File of its key; empty where the first file has it.
        client_ca: File of the authority whose certificates clients must show; empty asks for none.

    Raises:
        InvalidArgumentError: A file is missing, cannot be read, is no PEM or is encrypted; key and certificate do
            not belong together; or there is one of the others and no certificate.
    """
    if not certificate:
        if key:
            raise InvalidArgumentError(
                f"--tls-key {key!r} needs the certificate beside it: --tls-certificate FILE."
            )
        if client_ca:
            raise InvalidArgumentError(
                f"--tls-client-ca {client_ca!r} needs the server's own certificate: --tls-certificate FILE. Clients show "
                "theirs only over TLS."
            )
        return None
    for option, path in (
        ("--tls-certificate", certificate),
        ("--tls-key", key),
        ("--tls-client-ca", client_ca),
    ):
        try:
            if path:
                with open(path, "rb") as file:
                    file.read(1)
        except OSError as error:
            raise InvalidArgumentError(
                f"{option} {path!r} cannot be read: {error.strerror or error}. Name a PEM file that the "
                "server's user may read."
            ) from None

    def password() -> str:
        # Otherwise OpenSSL would ask for the password at the terminal.
        raise _EncryptedError

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key or None, password)
    except _EncryptedError:
        raise InvalidArgumentError(
            f"The key {key or certificate!r} is encrypted, and a server cannot ask for its password. "
            "Write it without: `openssl pkey -in KEY -out PLAIN`."
        ) from None
    except (ssl.SSLError, OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise InvalidArgumentError(
            f"--tls-certificate {certificate!r} and the key in {key or certificate!r} cannot be used ({why}). "
            "Expected PEM: the certificate chain, and the private key that belongs to it."
        ) from None
    if client_ca:
        try:
            context.load_verify_locations(client_ca)
        except (ssl.SSLError, OSError, ValueError) as error:
            raise InvalidArgumentError(
                f"--tls-client-ca {client_ca!r} cannot be used ({getattr(error, 'reason', None) or error}). Expected PEM: "
                "the certificate of the authority that signs those of the clients."
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def flight_tls_options(settings: Settings) -> dict[str, Any]:
    """Return the same for Arrow Flight, as options of its server; `tls_of` has checked the files."""
    if not settings.server_tls_certificate:
        return {}
    certificate = _bytes_of(settings.server_tls_certificate)
    key = _bytes_of(settings.server_tls_key) if settings.server_tls_key else certificate
    options: dict[str, Any] = {"tls_certificates": [(certificate, key)]}
    if settings.server_tls_client_ca:
        options["verify_client"] = True
        options["root_certificates"] = _bytes_of(settings.server_tls_client_ca)
    return options


def _bytes_of(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


class _EncryptedError(Exception):
    """The key is encrypted with a password."""
