"""A server's certificate and key, checked before it opens a port."""

from __future__ import annotations

import ssl

from chroma_nb.errors import InvalidArgumentError


def tls_context(certificate: str, key: str) -> ssl.SSLContext | None:
    """Return the TLS context of a certificate and its key; None where neither is given.

    Raises:
        InvalidArgumentError: A file is missing, cannot be read, is no PEM or is encrypted; or key and certificate do
            not belong together.
    """
    if not certificate and not key:
        return None
    if not certificate:
        raise InvalidArgumentError(
            f"--tls-key {key!r} needs the certificate beside it: --tls-certificate FILE."
        )
    for option, path in (("--tls-certificate", certificate), ("--tls-key", key)):
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
    return context


class _EncryptedError(Exception):
    """The key is encrypted with a password."""
