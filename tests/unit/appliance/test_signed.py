"""Signatures that lead to a root: who may sign what, and which revocation list counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import MissingToolError, SignatureError
from appliance.signed import newest_crls, read_crl, split_pem, verify
from unit.signing import Root, make_root, openssl, sign

CONTENT = b'{"format": 1}\r\n\x00\xff'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Root:
    return make_root(tmp_path_factory.mktemp("keys") / "root")


def test_what_a_release_key_signed_is_what_comes_out(root: Root) -> None:
    signed = verify(sign(CONTENT, root.release("one")), root.keyring)
    assert signed.content == CONTENT
    assert signed.signer == "CN=one"
    assert signed.not_after - signed.not_before == pytest.approx(365 * 86400, abs=2)


def test_a_changed_byte_changes_nothing_or_is_noticed(root: Root) -> None:
    message = sign(CONTENT, root.release("two"))
    for at in range(30, len(message), 7):
        changed = bytearray(message)
        changed[at] ^= 1
        try:
            assert verify(bytes(changed), root.keyring).content == CONTENT
        except SignatureError:
            continue


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_part_is_not_signed(root: Root, share: float) -> None:
    message = sign(CONTENT, root.release("three"))
    with pytest.raises(SignatureError, match="not signed"):
        verify(message[: int(len(message) * share)], root.keyring)


@pytest.mark.parametrize("message", [b"", b"<html>", b"\x30\x80" * 5000, bytes(4096)])
def test_what_is_no_signature_is_not_signed(root: Root, message: bytes) -> None:
    with pytest.raises(SignatureError, match="it is not signed"):
        verify(message, root.keyring)


def test_a_changed_content_is_told_as_such(root: Root) -> None:
    message = sign(CONTENT, root.release("four"))
    with pytest.raises(SignatureError, match="changed after it was signed"):
        verify(message.replace(b"format", b"formal"), root.keyring)


def test_a_stranger_is_a_stranger_also_under_the_roots_name(root: Root, tmp_path: Path) -> None:
    stranger = make_root(tmp_path / "stranger", root.name)
    with pytest.raises(SignatureError):
        verify(sign(CONTENT, stranger.release("one")), root.keyring)
    other = make_root(tmp_path / "other", "Another root")
    with pytest.raises(SignatureError, match="stranger"):
        verify(sign(CONTENT, other.release("one")), root.keyring)


def test_a_key_for_mail_signs_no_release(root: Root) -> None:
    with pytest.raises(SignatureError, match="for something else"):
        verify(sign(CONTENT, root.release("mail", extensions="mail")), root.keyring)


def test_a_revoked_key_is_told(root: Root, tmp_path: Path) -> None:
    signer = root.release("stolen")
    message = sign(CONTENT, signer)
    keyring = tmp_path / "keyring.pem"
    keyring.write_bytes(root.certificate.read_bytes() + root.revoke(signer))
    with pytest.raises(SignatureError, match="revoked"):
        verify(message, keyring)


def test_without_a_revocation_list_nothing_is_believed(root: Root) -> None:
    with pytest.raises(SignatureError, match="no revocation list"):
        verify(sign(CONTENT, root.release("five")), root.certificate)


def test_two_signers_are_one_too_many(root: Root) -> None:
    second = root.release("second")
    extra = ("-signer", str(second.certificate), "-inkey", str(second.key))
    with pytest.raises(SignatureError, match="more than one"):
        verify(sign(CONTENT, root.release("first"), extra=extra), root.keyring)


def test_a_signer_whose_time_is_over_or_to_come(root: Root) -> None:
    signed = verify(sign(CONTENT, root.release("short", days=1)), root.keyring)
    signed.check_time(signed.not_before + 60)
    with pytest.raises(SignatureError, match=r"from .* on"):
        signed.check_time(0.0)
    with pytest.raises(SignatureError, match="was valid until"):
        signed.check_time(signed.not_after + 1)


def test_the_list_with_the_highest_number_counts(root: Root, tmp_path: Path) -> None:
    old, new = root.crl().decode(), root.crl().decode()
    assert read_crl(new).number == read_crl(old).number + 1
    stranger = make_root(tmp_path / "stranger", root.name)
    for _ in range(20):
        forged = stranger.crl().decode()
    assert read_crl(forged).number > read_crl(new).number
    roots = split_pem(root.keyring.read_text(), "CERTIFICATE")
    for order in ([old, new, forged], [forged, new, old]):
        assert [one.pem for one in newest_crls(roots, order)] == [new]


def test_what_was_good_is_looked_at_once_and_a_failure_again(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crl = root.crl().decode()
    roots = split_pem(root.keyring.read_text(), "CERTIFICATE")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        with pytest.raises(MissingToolError):
            newest_crls(roots, [crl])
    [found] = newest_crls(roots, [crl])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert newest_crls(roots, [crl]) == (found,)


@pytest.mark.parametrize(
    "text", ["", "hello", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"]
)
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(SignatureError, match="no revocation list"):
        read_crl(text)


def test_a_list_is_found_between_other_blocks(root: Root) -> None:
    text = f"# root\n{root.keyring.read_text()}trailing"
    assert len(split_pem(text, "X509 CRL")) == len(split_pem(text, "CERTIFICATE")) == 1
    assert openssl("crl", "-noout", input=split_pem(text, "X509 CRL")[0].encode()) == b""
