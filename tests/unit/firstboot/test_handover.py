"""What was set at flashing: read, kept, in effect, and off the card, whenever the power goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.bootreport import DataCondition
from appliance.errors import AccessError, StateError
from appliance.paths import Paths
from appliance.protocol import Claim, GetDraft, GetStatus
from appliance.run import run
from appliance.state import Phase, State, save_state
from firstboot.cli import run_verb
from firstboot.cloudinit import read_values
from firstboot.handover import put_into_effect, take_over
from firstboot.imager import FILES, Left, read_left
from firstboot.kept import Kept, carry_network, load_kept, save_kept
from services.ssh import read_keys
from services.wifi import Wifi
from unit.firstboot import imager_files as files
from unit.firstboot.machine import Machine

EXPECTED = Left(
    hostname="attic",
    timezone="Europe/Berlin",
    country="DE",
    ssh_keys=(files.KEY,),
    password=files.YESCRYPT,
    wifi=Wifi(ssid=files.SSID.hex(), key=files.PMK, hidden=True),
)
SOURCES = {"toml": {"rpi-preseed.toml": files.TOML}, "cloud-init": files.CLOUD}
OWN = 'hostname = "loft"\nwifi_ssid = "Hut"\nwifi_password = "eight letters"\ncountry = "at"\n'


class PowerCutError(BaseException):
    pass


def put(paths: Paths, found: dict[str, str]) -> None:
    for name, text in found.items():
        (paths.bootfs / name).write_text(text)


def card_text(machine: Machine) -> str:
    return (machine.paths.bootfs / "hearth.toml").read_text()


def bootfs_bytes(paths: Paths) -> bytes:
    return b"".join(file.read_bytes() for file in paths.bootfs.rglob("*") if file.is_file())


@pytest.mark.parametrize("source", SOURCES)
def test_both_formats_say_the_same(machine: Machine, source: str) -> None:
    put(machine.paths, SOURCES[source])
    left, notes = read_left(machine.paths)
    assert left == EXPECTED
    expected = ("rpi-preseed.toml: Hearth has no use for connect",) if source == "toml" else ()
    assert notes == expected


def test_an_open_network_and_nothing_else(machine: Machine) -> None:
    text = files.NETWORK_CONFIG.replace(
        f'          password: "{files.PMK}"\n',
        "          auth:\n            key-management: none\n",
    ).replace("          hidden: true\n", "")
    put(machine.paths, {"network-config": text})
    assert read_left(machine.paths)[0] == Left(country="DE", wifi=Wifi(ssid=files.SSID.hex()))


def test_a_name_that_is_no_text(machine: Machine) -> None:
    put(machine.paths, {"rpi-preseed.toml": '[wlan]\nssid_hex = "ff00fe"\n'})
    assert read_left(machine.paths)[0].wifi == Wifi(ssid="ff00fe")
    text = files.NETWORK_CONFIG.replace("Zo\\xc3\\xab", "\\xff\\0")
    (machine.paths.bootfs / "rpi-preseed.toml").unlink()
    put(machine.paths, {"network-config": text})
    wifi = read_left(machine.paths)[0].wifi
    assert wifi is not None
    assert bytes.fromhex(wifi.ssid) == b'Our "home" \\ \xff\0'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[[", "rpi-preseed.toml is not used"),
        ('[system]\nhostname = "a b; reboot"', "is not a host name"),
        ('[system]\nhostname = "../../etc"', "is not a host name"),
        ('[locale]\ntimezone = "../../etc/shadow"', "is not a time zone"),
        ('[user]\npassword = "x"\npassword_encrypted = true', "of no known kind"),
        ('[user]\npassword = "$1$abc$def"\npassword_encrypted = true', "of no known kind"),
        ('[ssh]\nenabled = true\nauthorized_keys = ["command=\\"sh\\" ssh-rsa AA"]', "not an SSH"),
        ('[wlan]\nssid = "x"\npassword = "short"', "cannot be a Wi-Fi password"),
        ('[wlan]\nssid = "x"\npassword = "inject\\"\\n}"', "cannot be a Wi-Fi password"),
        (f'[wlan]\nssid = "{"x" * 33}"', "too long"),
        ('[wlan]\ncountry = "Germany"', "is not a country"),
        ('[runcmd]\nearly = ["reboot"]', "no use for runcmd"),
    ],
)
def test_what_is_not_usable_becomes_a_note(machine: Machine, text: str, says: str) -> None:
    put(machine.paths, {"rpi-preseed.toml": text})
    left, notes = read_left(machine.paths)
    assert replace(left, unused=()) in (Left(), Left(ssh_keys=()))
    assert says in notes[0]
    assert len(notes) == 1 + len(left.unused)


WRONG_KINDS = (
    "system = 1\nwlan = []\n",
    "[ssh]\nenabled = true\n",
    '[wlan]\nssid = 7\nssid_hex = "zz"\n[user]\npassword = 7\n',
)


@pytest.mark.parametrize("text", WRONG_KINDS)
def test_values_of_a_wrong_kind_are_none(machine: Machine, text: str) -> None:
    put(machine.paths, {"rpi-preseed.toml": text})
    assert read_left(machine.paths)[0] == Left()


def test_no_line_of_a_script_is_read_as_a_value() -> None:
    values = dict(read_values(files.USER_DATA))
    assert values["hostname",] == "Attic"
    assert values["user", "passwd"] == files.YESCRYPT
    assert not any("evil" in value for path, value in values.items() if path != ("runcmd",))


@pytest.mark.parametrize("source", SOURCES)
def test_it_is_kept_and_leaves_the_card(machine: Machine, source: str) -> None:
    put(machine.paths, SOURCES[source])
    first = machine.boot()
    assert first.preseed.hostname == "attic"
    assert not any((machine.paths.bootfs / name).exists() for name in FILES)
    for secret in files.SECRETS:
        assert secret.encode() not in bootfs_bytes(machine.paths)
    assert machine.paths.preseed.stat().st_mode & 0o777 == 0o600
    again = machine.boot().preseed
    assert again.ssh_keys == (files.KEY,)
    assert again.wifi == EXPECTED.wifi
    assert machine.ask(GetDraft(session=machine.claim())).timezone == "Europe/Berlin"


def test_hearth_toml_counts_more_and_loses_its_password(machine: Machine) -> None:
    put(machine.paths, {**SOURCES["toml"], "hearth.toml": OWN})
    for _ in range(3):
        preseed = machine.boot().preseed
        assert preseed.hostname == "loft"
        assert preseed.country == "AT"
        assert preseed.wifi == Wifi(ssid=b"Hut".hex(), key="eight letters")
        assert preseed.ssh_keys == (files.KEY,)
    text = card_text(machine)
    assert 'wifi_ssid = "Hut"\n# wifi_password was used' in text
    assert b"eight letters" not in bootfs_bytes(machine.paths)


def test_an_owner_changes_the_card_later(machine: Machine) -> None:
    put(machine.paths, {**SOURCES["toml"], "hearth.toml": OWN})
    machine.boot()
    machine.preseed('wifi_ssid = "Café"\nssh_keys = []\n')
    preseed = machine.boot().preseed
    assert preseed.wifi == Wifi(ssid="Café".encode().hex())  # an open one, not Hut's password
    assert preseed.ssh_keys == ()
    assert preseed.hostname == "loft"


def test_a_password_that_was_taken_off_the_card_never_makes_an_open_network(
    machine: Machine,
) -> None:
    """As after a factory reset, or where the data are lost: anybody can put up that name."""
    machine.preseed(OWN)
    machine.boot()
    machine.paths.preseed.unlink()
    preseed = machine.boot().preseed
    assert preseed.wifi is None
    assert preseed.country == "AT"
    assert "the password of the Wi-Fi network 'Hut' is not here any more" in preseed.notes[0]
    put_into_effect(machine.paths, machine.host, preseed)
    assert "wifi" not in machine.host.acts
    machine.preseed(f'{card_text(machine)}wifi_password = "nine letters"\n')  # as the note says
    for _ in range(2):
        preseed = machine.boot().preseed
        assert preseed.wifi == Wifi(ssid=b"Hut".hex(), key="nine letters")
        assert preseed.notes == ()
    assert card_text(machine).count("wifi_password_kept = true") == 1


@pytest.mark.parametrize("data", list(DataCondition))
def test_no_open_network_whatever_the_data_are(tmp_path: Path, data: DataCondition) -> None:
    machine = Machine(tmp_path, data=data)
    machine.preseed('wifi_ssid = "Hut"\nwifi_password_kept = true\n')
    preseed = machine.boot().preseed
    assert preseed.wifi is None
    assert "write wifi_password into the file again" in preseed.notes[0]


def test_the_network_goes_over_a_factory_reset_and_nothing_else(machine: Machine) -> None:
    put(machine.paths, SOURCES["toml"])
    machine.boot()
    fresh = machine.paths.data / "fresh/hearth"
    fresh.mkdir(parents=True)
    carry_network(machine.paths, fresh)
    machine.paths.preseed.unlink()
    (fresh / "preseed.toml").rename(machine.paths.preseed)
    assert machine.paths.preseed.stat().st_mode & 0o777 == 0o600
    assert load_kept(machine.paths) == Kept(country="DE", wifi=EXPECTED.wifi)


def test_without_a_network_a_reset_carries_nothing(machine: Machine) -> None:
    save_kept(machine.paths, Kept(hostname="attic", country="DE"))
    fresh = machine.paths.data / "fresh/hearth"
    fresh.mkdir(parents=True)
    carry_network(machine.paths, fresh)
    assert list(fresh.iterdir()) == []


def test_a_key_that_is_taken_off_hearth_toml_opens_nothing(machine: Machine) -> None:
    machine.preseed(f'ssh_key = "{files.KEY}"\n')
    assert machine.boot().preseed.ssh_keys == (files.KEY,)
    machine.preseed("")
    assert machine.boot().preseed.ssh_keys == ()


@pytest.mark.parametrize("data", [one for one in DataCondition if one is not DataCondition.OK])
@pytest.mark.parametrize("source", SOURCES)
def test_without_a_place_to_keep_it_the_card_keeps_it(
    tmp_path: Path, data: DataCondition, source: str
) -> None:
    """It counts all the same: without its Wi-Fi nobody could say what the data's fate shall be."""
    machine = Machine(tmp_path, data=data)
    put(machine.paths, {**SOURCES[source], "hearth.toml": 'country = "at"\n'})
    for _ in range(2):
        machine.paths.preseed.unlink(missing_ok=True)  # /data is a tmpfs
        preseed = machine.boot().preseed
        assert preseed.country == "AT"
        assert preseed.wifi == EXPECTED.wifi
        assert preseed.ssh_keys == (files.KEY,)
        assert machine.ask(GetStatus()).claim_by_password
        assert machine.ask(Claim(code=files.PASSWORD, source="b")).token
    for name, text in SOURCES[source].items():
        assert (machine.paths.bootfs / name).read_text() == text
    machine.preseed(OWN)
    machine.boot()
    assert card_text(machine) == OWN


def test_a_damaged_file_costs_only_itself(machine: Machine) -> None:
    machine.paths.preseed.write_text("hostname = \0")
    put(machine.paths, SOURCES["toml"])
    assert machine.boot().preseed.hostname == "attic"


def test_what_takes_effect(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    put(machine.paths, SOURCES["toml"])
    preseed = machine.boot().preseed
    (machine.paths.ssh).mkdir()
    (machine.paths.ssh / "ssh_host_ed25519_key").touch()
    put_into_effect(machine.paths, machine.host, preseed)
    assert machine.host.acts == ["ssh", "rename", "wifi"]
    assert (machine.paths.system / "hostname").read_text() == "attic\n"
    assert f"ssid={files.SSID.hex()}" in (machine.paths.runtime / "wifi.conf").read_text()
    machine.host.acts.clear()
    put_into_effect(machine.paths, machine.host, preseed)
    assert machine.host.acts == ["ssh", "wifi"]  # the name is known by now


def test_the_keys_that_open_ssh_are_told(machine: Machine) -> None:
    put(machine.paths, SOURCES["toml"])
    put_into_effect(machine.paths, machine.host, machine.boot().preseed)
    [told] = read_keys(machine.paths)
    (machine.paths.root / "key.pub").write_text(f"{files.KEY}\n")
    shown = run(["ssh-keygen", "-lf", machine.paths.root / "key.pub"]).stdout.split()
    assert told == f"ssh-ed25519 {shown[1]} anna"
    machine.preseed("ssh_keys = []\n")  # the way to take them away
    put_into_effect(machine.paths, machine.host, machine.boot().preseed)
    assert read_keys(machine.paths) == []


def test_one_failure_does_not_cost_the_rest(machine: Machine) -> None:
    put(machine.paths, SOURCES["toml"])
    preseed = machine.boot().preseed
    machine.paths.ssh.write_text("not a directory")
    put_into_effect(machine.paths, machine.host, preseed)
    assert machine.host.acts == ["rename", "wifi"]


# ---- the claim ------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [files.YESCRYPT, files.SHA256, files.SHA512])
def test_the_password_serves_as_a_claim(machine: Machine, stored: str) -> None:
    put(machine.paths, {"rpi-preseed.toml": files.TOML.replace(files.YESCRYPT, stored)})
    machine.boot()
    assert machine.ask(GetStatus()).claim_by_password
    for wrong in (files.PASSWORD.upper(), "", stored, f"{files.PASSWORD}\0"):
        with pytest.raises(AccessError):
            machine.ask(Claim(code=wrong, source=wrong[:9]))
    assert machine.ask(Claim(code=files.PASSWORD, source="b")).token
    assert machine.agent.gate.claim_code.plain == ""  # it is claimed: no code lies about any more
    assert machine.ask(GetStatus()).phase is Phase.SETUP
    assert machine.ask(Claim(code=files.PASSWORD, source="c")).token


def test_a_weak_password_cannot_be_guessed_for_ever(machine: Machine) -> None:
    """Imager takes any; the code that Hearth has made goes on counting."""
    put(machine.paths, SOURCES["toml"])
    machine.boot()
    for number in range(20):
        with pytest.raises(AccessError):
            machine.ask(Claim(code=f"guess {number}", source=f"192.0.2.{number}"))
        machine.clock.sleep(60)
    with pytest.raises(AccessError, match="not the claim code"):
        machine.ask(Claim(code=files.PASSWORD, source="b"))
    machine.clock.sleep(60)
    code = machine.agent.gate.claim_code.plain
    assert machine.ask(Claim(code=code, source="b")).token
    machine.boot()
    assert machine.ask(Claim(code=files.PASSWORD, source="c")).token


def test_a_password_in_plain_text_is_kept_as_a_hash(machine: Machine) -> None:
    plain = files.TOML.replace(files.YESCRYPT, files.PASSWORD)
    put(machine.paths, {"rpi-preseed.toml": plain.replace("password_encrypted = true", "", 1)})
    machine.boot()
    assert files.PASSWORD not in machine.paths.preseed.read_text()
    assert machine.ask(Claim(code=files.PASSWORD, source="b")).token


def test_it_is_forgotten_when_setup_is_over(machine: Machine) -> None:
    put(machine.paths, SOURCES["toml"])
    machine.boot()
    save_state(State(phase=Phase.READY), machine.paths.state)
    machine.agent.settle()
    assert load_kept(machine.paths).password == ""
    assert load_kept(machine.paths).wifi == EXPECTED.wifi
    put(machine.paths, SOURCES["toml"])
    machine.boot()
    assert load_kept(machine.paths).password == ""
    assert not machine.ask(GetStatus()).claim_by_password


def test_a_key_serves_as_a_claim(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever is in by SSH is root, and reads the code."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    verb = ["--root", os.fspath(machine.paths.root), "claim"]
    assert run_verb(verb) == 0
    code = capsys.readouterr().out.partition("claim code: ")[2][:9]
    assert machine.ask(Claim(code=code, source="b")).token
    with pytest.raises(StateError, match="has been used"):
        run_verb(verb)
    save_state(State(phase=Phase.READY), machine.paths.state)
    with pytest.raises(StateError, match="no claim code any more"):
        run_verb(verb)


# ---- power cuts -----------------------------------------------------------------------------

# Whatever changes a file or makes a change last; the cut comes before it.
STEPS = ("replace", "fsync", "unlink", "write", "fchmod")


def cut_at(number: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    left = [number]

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise PowerCutError
            return real(*arguments, **options)

        return call

    for name in STEPS:
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    return left


def keep_clusters(paths: Paths, place: Path) -> list[Path]:
    """Second names of the files: what the clusters hold when nothing leads to them any more."""
    place.mkdir()
    names = [file.name for file in paths.bootfs.iterdir()]
    for name in names:
        (place / name).hardlink_to(paths.bootfs / name)
    return [place / name for name in names]


@pytest.mark.parametrize("found", [
    {**SOURCES["toml"], "hearth.toml": OWN}, {**SOURCES["cloud-init"], "hearth.toml": OWN},
], ids=SOURCES)  # fmt: skip
def test_a_power_cut_at_each_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: dict[str, str]
) -> None:
    # Where the cut comes is what counts here; waiting for the disk at each of them takes a minute.
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    cuts = 0
    while True:
        machine = Machine(tmp_path / f"{cuts}")
        put(machine.paths, found)
        clusters = keep_clusters(machine.paths, tmp_path / f"clusters{cuts}")
        with monkeypatch.context() as patched:
            left = cut_at(cuts, patched)
            with suppress(PowerCutError):
                take_over(machine.paths)
            is_over = left[0] >= 0
        preseed = take_over(machine.paths)
        assert preseed.hostname == "loft"
        assert preseed.wifi == Wifi(ssid=b"Hut".hex(), key="eight letters")
        assert preseed.ssh_keys == (files.KEY,)
        assert load_kept(machine.paths).password == files.YESCRYPT
        seen = bootfs_bytes(machine.paths) + b"".join(one.read_bytes() for one in clusters)
        for secret in (*files.SECRETS, "eight letters"):
            assert secret.encode() not in seen, cuts
        assert not any((machine.paths.bootfs / name).exists() for name in FILES)
        if is_over:
            break
        cuts += 1
    assert cuts > 10
