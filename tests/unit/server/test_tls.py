"""`tls_context`: a certificate and a key that cannot be used are one sentence each."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.server.tls import tls_context

if TYPE_CHECKING:
    from pathlib import Path


def test_without_a_certificate_there_is_no_tls() -> None:
    assert tls_context("", "") is None


def test_a_certificate_and_its_key(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    one, other = trustme.CA().issue_cert("localhost"), trustme.CA().issue_cert("localhost")
    chain, key, wrong = (str(tmp_path / name) for name in ("chain.pem", "key.pem", "wrong.pem"))
    one.cert_chain_pems[0].write_to_path(chain)
    one.private_key_pem.write_to_path(key)
    other.private_key_pem.write_to_path(wrong)
    assert isinstance(tls_context(chain, key), ssl.SSLContext)
    with pytest.raises(InvalidArgumentError, match="cannot be used"):
        tls_context(chain, wrong)


@pytest.mark.parametrize(
    ("certificate", "key", "word"),
    [("", "key.pem", "--tls-certificate"), ("none.pem", "", "cannot be read")],
)
def test_what_cannot_be_used(tmp_path: Path, certificate: str, key: str, word: str) -> None:
    with pytest.raises(InvalidArgumentError, match=word):
        tls_context(str(tmp_path / certificate) if certificate else "", key)


def test_an_authority_of_clients(tmp_path: Path) -> None:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    own, ca, no = (str(tmp_path / name) for name in ("own.pem", "ca.pem", "no.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(own)
    authority.cert_pem.write_to_path(ca)
    (tmp_path / "no.pem").write_text("nothing")
    assert tls_context(own, "").verify_mode is ssl.CERT_NONE  # type: ignore[union-attr]
    assert tls_context(own, "", ca).verify_mode is ssl.CERT_REQUIRED  # type: ignore[union-attr]
    for certificate, given, word in (
        ("", ca, "--tls-certificate FILE"),
        (own, no, "Expected PEM"),
        (own, str(tmp_path / "none.pem"), "--tls-client-ca .*cannot be read"),
        (own, str(tmp_path), "--tls-client-ca .*cannot be read"),
    ):
        with pytest.raises(InvalidArgumentError, match=word):
            tls_context(certificate, "", given)


def test_what_is_no_pem(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("nothing")
    with pytest.raises(InvalidArgumentError, match="Expected PEM"):
        tls_context(str(tmp_path / "no.pem"), "")
