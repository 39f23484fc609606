"""Roots, release keys and lists of revoked ones, judged by OpenSSL itself."""

from __future__ import annotations

import datetime
import json
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.errors import ConfigError, HearthError, StateError, UsageError
from imagebuild.__main__ import main
from imagebuild.certificates import crl_number, load_crl
from imagebuild.keyring import check_keyring, load_keyring
from imagebuild.keys import ensure_development_keys, init_root, new_release_key, revoke

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    init_root(tmp_path / "root", "Test updates", NOW)
    return tmp_path / "root"


def openssl(*argv: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, argv)], capture_output=True, text=True, check=check)


def verify(keyring: Path, certificate: Path, at: datetime.datetime = NOW) -> str:
    """What OpenSSL says with revocation checks on, at a time: empty when it is content."""
    result = openssl("verify", "-crl_check_all", "-x509_strict", "-attime",
                     int(at.timestamp()), "-CAfile", keyring, certificate, check=False)  # fmt: skip
    return "" if result.returncode == 0 else result.stderr


def sign(directory: Path, name: str, content: Path) -> Path:
    target = content.with_suffix(".cms")
    openssl("cms", "-sign", "-binary", "-nodetach", "-in", content, "-signer",
            directory / f"{name}.crt", "-inkey", directory / f"{name}.key", "-outform", "DER",
            "-out", target)  # fmt: skip
    return target


def test_openssl_trusts_a_release_key(root: Path) -> None:
    certificate = new_release_key(root, "2027", NOW)
    assert verify(root / "keyring.pem", certificate) == ""
    text = openssl("x509", "-in", certificate, "-noout", "-text").stdout
    assert "Code Signing" in text
    assert "CA:FALSE" in text
    assert "prime256v1" in text
    assert verify(root / "keyring.pem", certificate, NOW + 4 * 366 * DAY) != ""


def test_a_stranger_is_not_trusted(root: Path, tmp_path: Path) -> None:
    init_root(tmp_path / "other", "Test updates", NOW)
    certificate = new_release_key(tmp_path / "other", "2027", NOW)
    assert verify(root / "keyring.pem", certificate) != ""


def test_a_release_key_signs_no_certificates(root: Path, tmp_path: Path) -> None:
    new_release_key(root, "2027", NOW)
    request, sub = tmp_path / "sub.csr", tmp_path / "sub.crt"
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", tmp_path / "sub.key", "-subj", "/CN=sub", "-out", request)  # fmt: skip
    openssl("x509", "-req", "-in", request, "-CA", root / "2027.crt", "-CAkey",
            root / "2027.key", "-CAcreateserial", "-out", sub)  # fmt: skip
    chain = tmp_path / "chain.pem"
    chain.write_bytes((root / "2027.crt").read_bytes())
    said = openssl("verify", "-untrusted", chain, "-CAfile", root / "keyring.pem", sub,
                   check=False)  # fmt: skip
    assert said.returncode != 0


def test_what_a_revoked_key_has_signed_counts_no_more(root: Path) -> None:
    old, new = new_release_key(root, "old", NOW), new_release_key(root, "new", NOW)
    assert crl_number(load_crl(root / "revoked.crl")) == 1
    assert revoke(root, "old", NOW + DAY)
    assert crl_number(load_crl(root / "revoked.crl")) == 2
    for at in (NOW, NOW + DAY, NOW + 300 * DAY):
        assert "revoked" in verify(root / "keyring.pem", old, at)
        assert verify(root / "keyring.pem", new, at) == ""


def test_a_newer_list_refuses_nothing_that_was_signed_before_it(root: Path) -> None:
    """RAUC verifies at the signing time, and to OpenSSL a list of later would not be valid yet."""
    good = new_release_key(root, "good", NOW)
    new_release_key(root, "bad", NOW)
    revoke(root, "bad", NOW + 700 * DAY)
    assert verify(root / "keyring.pem", good, NOW) == ""
    assert verify(root / "keyring.pem", good, NOW + 1000 * DAY) == ""


def test_revoking_twice_changes_nothing(root: Path) -> None:
    new_release_key(root, "a", NOW)
    assert revoke(root, "a", NOW)
    before = (root / "revoked.crl").read_bytes()
    assert not revoke(root, "a", NOW + DAY)
    assert (root / "revoked.crl").read_bytes() == before


def test_a_cut_between_list_and_keyring_is_mended(root: Path) -> None:
    certificate = new_release_key(root, "a", NOW)
    before = (root / "keyring.pem").read_bytes()
    revoke(root, "a", NOW)
    (root / "keyring.pem").write_bytes(before)
    assert verify(root / "keyring.pem", certificate) == ""
    assert not revoke(root, "a", NOW)
    assert "revoked" in verify(root / "keyring.pem", certificate)


def test_several_are_revoked(root: Path) -> None:
    names = ["a", "b", "c"]
    for name in names:
        new_release_key(root, name, NOW)
        revoke(root, name, NOW)
    assert crl_number(load_crl(root / "revoked.crl")) == 4
    for name in names:
        assert "revoked" in verify(root / "keyring.pem", root / f"{name}.crt")


@pytest.mark.parametrize("name", ["root", "nobody", "stranger"])
def test_only_keys_of_this_root_are_revoked(root: Path, tmp_path: Path, name: str) -> None:
    init_root(tmp_path / "other", "Other", NOW)
    stranger = new_release_key(tmp_path / "other", "stranger", NOW)
    (root / "stranger.crt").write_bytes(stranger.read_bytes())
    before = (root / "keyring.pem").read_bytes()
    with pytest.raises(ConfigError):
        revoke(root, name, NOW)
    assert (root / "keyring.pem").read_bytes() == before


def test_secrets_are_for_their_owner_only(root: Path) -> None:
    new_release_key(root, "2027", NOW)
    assert root.stat().st_mode & 0o777 == 0o700
    for name in ("root.key", "2027.key"):
        assert (root / name).stat().st_mode & 0o777 == 0o600


def test_nothing_is_overwritten(root: Path) -> None:
    new_release_key(root, "2027", NOW)
    before = {path.name: path.read_bytes() for path in root.iterdir()}
    with pytest.raises(StateError, match="overwritten"):
        init_root(root, "Another", NOW)
    with pytest.raises(StateError, match="overwritten"):
        new_release_key(root, "2027", NOW)
    (root / "2027.crt").unlink()
    with pytest.raises(StateError, match="overwritten"):
        new_release_key(root, "2027", NOW)
    before.pop("2027.crt")
    assert {path.name: path.read_bytes() for path in root.iterdir()} == before


def test_a_root_is_made_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("something else")
    with pytest.raises(StateError):
        init_root(place, "Test", NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["root", "keyring", "revoked", "../up", "A b", "", ".hidden"])
def test_impossible_names(root: Path, name: str) -> None:
    with pytest.raises(UsageError):
        new_release_key(root, name, NOW)


def test_a_root_may_be_locked(tmp_path: Path) -> None:
    directory = tmp_path / "root"
    init_root(directory, "Locked", NOW, passphrase=b"open sesame")
    assert b"ENCRYPTED" in (directory / "root.key").read_bytes()
    for wrong in (None, b"sesame open"):
        with pytest.raises(ConfigError, match="cannot be read"):
            new_release_key(directory, "2027", NOW, passphrase=wrong)
    certificate = new_release_key(directory, "2027", NOW, passphrase=b"open sesame")
    assert verify(directory / "keyring.pem", certificate) == ""


def test_a_key_that_stays_in_its_token(root: Path, tmp_path: Path) -> None:
    request = tmp_path / "token.csr"
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", tmp_path / "token.key", "-subj", "/CN=any", "-out", request)  # fmt: skip
    certificate = new_release_key(root, "token", NOW, request=request)
    assert not (root / "token.key").exists()
    assert verify(root / "keyring.pem", certificate) == ""
    public = openssl("x509", "-in", certificate, "-noout", "-pubkey").stdout
    assert public == openssl("pkey", "-in", tmp_path / "token.key", "-pubout").stdout


def test_a_request_for_a_weak_key_is_refused(root: Path, tmp_path: Path) -> None:
    request = tmp_path / "rsa.csr"
    openssl("req", "-new", "-newkey", "rsa:1024", "-nodes", "-keyout", tmp_path / "rsa.key",
            "-subj", "/CN=weak", "-out", request)  # fmt: skip
    for path in (request, tmp_path / "rsa.key", tmp_path / "nothing"):
        with pytest.raises(ConfigError):
            new_release_key(root, "weak", NOW, request=path)
    assert not list(root.glob("weak*"))


def test_a_key_of_another_root_does_not_sign(root: Path, tmp_path: Path) -> None:
    init_root(tmp_path / "other", "Other", NOW)
    (root / "root.key").write_bytes((tmp_path / "other/root.key").read_bytes())
    with pytest.raises(ConfigError, match=r"not the key of root\.crt"):
        new_release_key(root, "2027", NOW)
    (root / "root.key").unlink()
    with pytest.raises(ConfigError, match="not there"):
        new_release_key(root, "2027", NOW)


def test_development_keys_are_made_once_and_sign(tmp_path: Path) -> None:
    keyring = ensure_development_keys(tmp_path / "build/keys")
    before = {path.name: path.read_bytes() for path in keyring.parent.iterdir()}
    assert ensure_development_keys(tmp_path / "build/keys") == keyring
    assert {path.name: path.read_bytes() for path in keyring.parent.iterdir()} == before
    assert verify(keyring, keyring.parent / "development.crt") == ""
    assert [path.name for path in (tmp_path / "build").iterdir()] == ["keys"]
    with pytest.raises(ConfigError, match="development keyring"):
        check_keyring(keyring, release=True)
    assert check_keyring(keyring).is_development


def test_development_keys_beside_rubbish(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/root.key").write_text("half of one")
    with pytest.raises(StateError) as caught:
        ensure_development_keys(tmp_path / "keys")
    assert caught.value.hint is not None
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_a_whole_keyring_is_one(root: Path) -> None:
    keyring = check_keyring(root / "keyring.pem", release=True)
    assert len(keyring.roots) == len(keyring.crls) == 1
    assert not keyring.is_development


def other_list(root: Path, **times: datetime.datetime) -> bytes:
    """A list that somebody else's tools have made with root.key."""
    key = serialization.load_pem_private_key((root / "root.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificate = x509.load_pem_x509_certificate((root / "root.crt").read_bytes())
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificate.subject)
        .last_update(times.get("last", NOW - DAY))
        .next_update(times.get("next", certificate.not_valid_after_utc))
        .sign(key, hashes.SHA256())
    )
    return crl.public_bytes(serialization.Encoding.PEM)


def test_keyrings_that_would_stop_updates_are_refused(root: Path, tmp_path: Path) -> None:
    certificate = (root / "root.crt").read_bytes()
    new_release_key(root, "2027", NOW)
    init_root(tmp_path / "other", "Other", NOW)
    cases = {
        "has no revocation list": certificate,
        "that it has signed": certificate + (tmp_path / "other/revoked.crl").read_bytes(),
        "ends before itself": certificate + other_list(root, next=NOW + 30 * DAY),
        "of the future": certificate + other_list(root, last=NOW + DAY),
        "is no root": (root / "2027.crt").read_bytes() + (root / "revoked.crl").read_bytes(),
        "holds a private key": certificate + (root / "root.key").read_bytes(),
        "is no keyring": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    }
    for reason, content in cases.items():
        path = tmp_path / "keyring.pem"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=reason):
            check_keyring(path)
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            check_keyring(path)
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ConfigError, match="is no keyring"):
        check_keyring(tmp_path / "empty")


def test_two_roots_for_the_time_of_a_change(root: Path, tmp_path: Path) -> None:
    init_root(tmp_path / "next", "Test updates 2", NOW)
    both = tmp_path / "both.pem"
    both.write_bytes((root / "keyring.pem").read_bytes()
                     + (tmp_path / "next/keyring.pem").read_bytes())  # fmt: skip
    assert len(check_keyring(both, release=True).roots) == 2
    for directory in (root, tmp_path / "next"):
        assert verify(both, new_release_key(directory, "2027", NOW)) == ""


def test_a_signed_message_is_verified_with_the_keyring(root: Path, tmp_path: Path) -> None:
    """As RAUC and the channel's index do it: CMS, revocation checked, at the signing time."""
    new_release_key(root, "2027", NOW)
    content = tmp_path / "index.json"
    content.write_text('{"sequence": 1}')
    message = sign(root, "2027", content)

    def read(path: Path) -> subprocess.CompletedProcess[str]:
        return openssl("cms", "-verify", "-inform", "DER", "-in", path, "-CAfile",
                       root / "keyring.pem", "-crl_check_all", "-purpose", "any",
                       "-no-CApath", "-no-CAstore", check=False)  # fmt: skip

    assert read(message).stdout == '{"sequence": 1}'
    revoke(root, "2027", NOW)
    refused = read(message)
    assert refused.returncode != 0
    assert "revoked" in refused.stderr


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "root"
    lock = tmp_path / "passphrase"
    lock.write_text("open sesame\n")
    locked = ["--passphrase-file", str(lock)]
    assert main(["keys", "init-root", str(root), "--title", "Ours", *locked]) == 0
    assert "offline" in capsys.readouterr().out
    assert main(["keys", "new-release-key", str(root), "2027", "--years", "2", *locked]) == 0
    assert "2027.key" in capsys.readouterr().out
    assert main(["keys", "new-release-key", str(root), "2027"]) == ConfigError.exit_code
    assert main(["keys", "revoke", str(root), "2027", *locked]) == 0
    assert "list 2" in capsys.readouterr().out
    assert main(["keys", "revoke", str(root), "2027", *locked]) == 0
    assert "before" in capsys.readouterr().out
    assert main(["keys", "show", str(root), "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    [row] = table["roots"]
    assert (row["title"], row["crl"], row["development"]) == ("Ours", 2, False)
    [key] = table["release_keys"]
    assert key["revoked"]
    assert row["revoked"] == [key["serial"]]
    assert main(["keys", "show", str(root / "keyring.pem")]) == 0
    assert "1 revoked" in capsys.readouterr().out
    lock.write_text("\n")
    assert main(["keys", "revoke", str(root), "2027", *locked]) == ConfigError.exit_code


def test_no_secret_is_ever_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new_release_key(root, "2027", NOW)
    secrets = [(root / name).read_text().splitlines()[1] for name in ("root.key", "2027.key")]
    (root / "root.key").write_text("-----BEGIN PRIVATE KEY-----\nx" + secrets[0])
    assert main(["keys", "revoke", str(root), "2027"]) == ConfigError.exit_code
    main(["keys", "show", str(root)])
    said = capsys.readouterr()
    for secret in secrets:
        assert secret not in said.out + said.err


def test_errors_say_what_to_do(root: Path) -> None:
    for action in (
        lambda: init_root(root, "x", NOW),
        lambda: new_release_key(root, "UPPER", NOW),
        lambda: revoke(root, "nobody", NOW),
        lambda: load_keyring(root / "nothing"),
    ):
        with pytest.raises(HearthError) as caught:
            action()
        assert caught.value.hint
