"""The recovery file: opened by its passphrase alone, and only when nobody has touched it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from appliance.errors import AccessError, ConfigError, StateError
from appliance.paths import Paths
from services.recovery import make_recovery_file, open_recovery_file
from unit.services.appliance_files import SECRETS, SERVER_NAME, make_appliance

PASSPHRASE = "four words are enough"


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_recovery_file(make_appliance(tmp_path_factory.mktemp("root")), PASSPHRASE)


def test_round_trip(sealed: bytes) -> None:
    found = open_recovery_file(sealed, PASSPHRASE)
    assert found.server_name == SERVER_NAME
    assert set(found.files) == {
        "hearth/settings.toml",
        "hearth/secrets.toml",
        "homeserver/synapse/signing.key",
    }
    assert found.files["homeserver/synapse/signing.key"].startswith(b"ed25519 a_test")


def test_no_password_and_no_claim_in_it(sealed: bytes) -> None:
    secrets = tomllib.loads(
        open_recovery_file(sealed, PASSPHRASE).files["hearth/secrets.toml"].decode()
    )
    assert secrets["pending_password"] == ""
    assert secrets["claim_hash"] == ""
    assert secrets["registration_shared_secret"] == SECRETS.registration_shared_secret


def test_nothing_secret_is_readable_in_the_file(sealed: bytes) -> None:
    for word in (b"ed25519", SECRETS.macaroon_secret_key.encode(), b"scrypt$owner"):
        assert word not in sealed


def test_two_files_share_no_salt_and_no_nonce(tmp_path: Path, sealed: bytes) -> None:
    other = make_recovery_file(make_appliance(tmp_path), PASSPHRASE)
    first, second = (json.loads(data.partition(b"\n")[0]) for data in (sealed, other))
    assert first["salt"] != second["salt"]
    assert first["nonce"] != second["nonce"]


def test_wrong_passphrase(sealed: bytes) -> None:
    with pytest.raises(AccessError, match="passphrase is wrong"):
        open_recovery_file(sealed, PASSPHRASE + " ")


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("place", ["first", "middle", "tag"])
def test_tampering_with_the_content(sealed: bytes, place: str) -> None:
    start = sealed.index(b"\n") + 1
    at = {"first": start, "middle": (start + len(sealed)) // 2, "tag": len(sealed) - 1}[place]
    with pytest.raises(AccessError):
        open_recovery_file(_flip(sealed, at), PASSPHRASE)


def test_tampering_with_the_header(sealed: bytes) -> None:
    changed = sealed.replace(SERVER_NAME.encode(), b"evil.example.org"[: len(SERVER_NAME)], 1)
    with pytest.raises(AccessError):
        open_recovery_file(changed, PASSPHRASE)


@pytest.mark.parametrize("length", [0, 10, 200, -1])
def test_truncated(sealed: bytes, length: int) -> None:
    with pytest.raises((ConfigError, AccessError)):
        open_recovery_file(sealed[:length], PASSPHRASE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hearth-recovery", 2),
        ("n", 2**30),
        ("n", "many"),
        ("n", 1000),
        ("r", 0),
        ("p", 100),
        ("salt", "not hex"),
        ("nonce", "zz"),
        ("nonce", "00"),
        ("cipher", "rot13"),
    ],
)
def test_a_header_that_is_not_ours_is_refused_before_work_is_done(
    sealed: bytes, name: str, value: object
) -> None:
    line, _, rest = sealed.partition(b"\n")
    header = {**json.loads(line), name: value}
    with pytest.raises(ConfigError):
        open_recovery_file(json.dumps(header).encode() + b"\n" + rest, PASSPHRASE)


@pytest.mark.parametrize("data", [b"", b"\n", b"[]\n", b"null\n", b"{}\n", b"\xff\xfe" * 9000])
def test_something_else_is_not_a_recovery_file(data: bytes) -> None:
    with pytest.raises(ConfigError, match="not a recovery file"):
        open_recovery_file(data, PASSPHRASE)


def test_before_setup_there_is_nothing_to_recover(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="not set up"):
        make_recovery_file(Paths(tmp_path), PASSPHRASE)
    with pytest.raises(StateError, match=r"signing\.key"):
        make_recovery_file(make_appliance(tmp_path / "no-key", with_key=False), PASSPHRASE)
