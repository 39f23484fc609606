"""What may be set at flashing, and that the device reads what was written."""

from __future__ import annotations

import argparse
import io
import os
from pathlib import Path

import pytest

from appliance.errors import ConfigError, DiskFaultError, FieldError, HearthError, UsageError
from appliance.layout import MIB
from appliance.preseed import render_preseed
from appliance.run import run
from firstboot.preseed import parse_preseed
from imagebuild.flash.card import Card
from imagebuild.flash.preseed import add_options, make_preseed, make_preseeder
from services.wifi import Wifi
from unit.firstboot.imager_files import KEY

NO_TOOLS = Path("/nonexistent")
PASSWORD = 'a "quoted\\" pass'


def parse(*argv: str | Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args([os.fspath(part) for part in argv])


@pytest.fixture
def everything(tmp_path: Path) -> argparse.Namespace:
    (tmp_path / "key.pub").write_text(f"# mine\n{KEY}\n")
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return parse(
        "--hostname", "Attic.local", "--wifi", "Zoë's", "--country", "de", "--timezone",
        "Europe/Berlin", "--ssh-key", tmp_path / "key.pub", "--wifi-password-file",
        tmp_path / "password",
    )  # fmt: skip


def test_the_device_reads_what_flash_writes(everything: argparse.Namespace) -> None:
    preseed = make_preseed(everything)
    assert preseed is not None
    found = parse_preseed(render_preseed(preseed))
    assert found.notes == ()
    assert found.hostname == "attic"
    assert found.country == "DE"
    assert found.timezone == "Europe/Berlin"
    assert found.ssh_keys == (KEY,)
    assert found.wifi == Wifi(ssid="Zoë's".encode().hex(), key=PASSWORD)


def test_nothing_set_is_nothing_written() -> None:
    assert make_preseed(parse()) is None


@pytest.mark.parametrize(
    ("argv", "kind", "words"),
    [
        (("--wifi", "x"), UsageError, "--country"),
        (("--wifi", "x", "--country", "DE"), UsageError, "nobody can be asked"),
        (("--wifi-password-file", "password"), UsageError, "needs --wifi"),
        (("--wifi", "x" * 33, "--country", "DE"), ConfigError, "1 to 32 bytes"),
        (("--wifi", "x", "--country", "DE", "--wifi-password-file", "short"), ConfigError,
         "cannot be a Wi-Fi password"),
        (("--wifi", "x", "--country", "DE", "--wifi-password-file", "absent"), ConfigError,
         "No such file"),
        (("--country", "Germany"), ConfigError, "is not a country"),
        (("--hostname", "a b"), ConfigError, "is not a host name"),
        (("--timezone", "Mars/Olympus"), FieldError, "is not a time zone"),
        (("--ssh-key", "absent"), ConfigError, "No such file"),
        (("--ssh-key", "empty"), ConfigError, "has no SSH key"),
        (("--ssh-key", "private"), ConfigError, "is a private key"),
        (("--ssh-key", "binary"), ConfigError, "it is no text"),
    ],
)  # fmt: skip
def test_what_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...],
    kind: type[HearthError], words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "short").write_text("seven77")
    (tmp_path / "empty").touch()
    (tmp_path / "private").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\0")
    with pytest.raises(kind, match=words) as caught:
        make_preseed(parse(*argv))
    assert caught.value.hint
    assert "seven77" not in caught.value.message


def make_card(tmp_path: Path) -> Card:
    """An image's first partition, alone: FAT, 8 MiB into the disk."""
    fat = tmp_path / "fat"
    fat.write_bytes(bytes(8 * MIB))
    run(["mkfs.fat", "-n", "bootfs", fat])
    path = tmp_path / "card"
    path.write_bytes(bytes(8 * MIB) + fat.read_bytes())
    return Card(path, os.open(path, os.O_RDWR), direct=False)


def test_it_lies_on_bootfs(tmp_path: Path, everything: argparse.Namespace) -> None:
    card = make_card(tmp_path)
    preseed = make_preseed(everything)
    assert preseed is not None
    preseeder = make_preseeder(preseed, NO_TOOLS)
    preseeder.write(card)
    preseeder.write(card)  # and over one that is there
    (tmp_path / "fat").write_bytes(card.path.read_bytes()[8 * MIB :])
    text = run(["mtype", "-i", tmp_path / "fat", "::hearth.toml"]).stdout
    assert text == render_preseed(preseed)
    run(["fsck.fat", "-n", tmp_path / "fat"])


class ForgetfulCard(Card):
    """Loses what another program wrote to it."""

    def forget(self) -> None:
        content = self.path.read_bytes()
        self.path.write_bytes(content.replace(b"attic", b"\0" * 5))


def test_a_card_that_does_not_keep_it(tmp_path: Path, everything: argparse.Namespace) -> None:
    card = make_card(tmp_path)
    preseed = make_preseed(everything)
    assert preseed is not None
    forgetful = ForgetfulCard(card.path, os.open(card.path, os.O_RDWR), direct=False)
    with pytest.raises(DiskFaultError, match=r"does not keep hearth\.toml"):
        make_preseeder(preseed, NO_TOOLS).write(forgetful)
