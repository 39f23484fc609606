from __future__ import annotations

import base64

import pytest

from appliance.protocol import GetDraft
from appliance.state import Phase, State, save_state
from firstboot.preseed import parse_preseed, redact_claim_code
from services.wifi import Wifi
from unit.firstboot.machine import Machine


def make_key(kind: str = "ssh-ed25519", *, blob_kind: str | None = None) -> str:
    name = (blob_kind or kind).encode()
    blob = len(name).to_bytes(4, "big") + name + b"\0\0\0\x20" + bytes(32)
    return f"{kind} {base64.b64encode(blob).decode()} anna@example"


KEY = make_key()


def test_everything_right() -> None:
    found = parse_preseed(
        f'claim_code = "seven purple kettles"\nssh_key = "{KEY}"\n'
        f'ssh_keys = ["{make_key("ssh-rsa")}"]\ntimezone = "Europe/Berlin"\n'
    )
    assert found.notes == ()
    assert found.claim_code == "seven purple kettles"
    assert found.ssh_keys == (KEY, make_key("ssh-rsa"))
    assert found.timezone == "Europe/Berlin"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("timezone = Europe/Berlin", "is not used"),
        ("timezone = \u201cEurope/Berlin\u201d", "straight quotes"),
        ('claimcode = "x"', "did you mean 'claim_code'"),
        ("timezone = 7", "expected str"),
        ('timezone = "Mars/Olympus"', "is not a time zone"),
        ('ssh_key = "ssh-ed25519 AAAA"', "cut short"),
        ('ssh_key = "hello"', "not an SSH public key"),
        ('ssh_key = "-----BEGIN OPENSSH PRIVATE KEY-----"', "a private key"),
        (f"ssh_key = 'command=\"sh\" {KEY}'", "not an SSH public key"),
        (f'ssh_key = """{KEY}\n{KEY}"""', "not an SSH public key"),
        (f'ssh_key = "{make_key(blob_kind="ssh-rsa")}"', "cut short"),
        ('ssh_keys = "x"', "expected a list"),
        ("[[[[", "is not used"),
        ("a = " + "[" * 5000, "is not used"),
        ("a = " + "9" * 5000, "is not used"),
    ],
)
def test_a_mistake_becomes_a_note(text: str, says: str) -> None:
    found = parse_preseed(text)
    assert len(found.notes) == 1
    assert says in found.notes[0]
    assert not found.ssh_keys


def test_one_mistake_does_not_spoil_the_rest() -> None:
    found = parse_preseed(f'ssh_key = "{KEY}"\nwifi = "x"\ntimezone = "nowhere"\n')
    assert found.ssh_keys == (KEY,)
    assert len(found.notes) == 2


@pytest.mark.parametrize("value", ["8273645190", '["seven purple kettles"]', "{ seven = 1 }"])
def test_a_code_without_quotes_is_not_told_to_everybody(value: str) -> None:
    """Notes stand on the first page, and the owner will only add the quotes."""
    [note] = parse_preseed(f"claim_code = {value}").notes
    assert note == "hearth.toml: claim_code: this is not text in quotes"


def test_notes_fit_the_page() -> None:
    notes = parse_preseed("".join(f"wrong{number} = 1\n" for number in range(5000))).notes
    assert len(notes) == 9
    assert "4992 more" in notes[-1]


def test_a_file_that_fell_there_by_mistake_is_not_read(machine: Machine) -> None:
    path = machine.paths.bootfs / "hearth.toml"
    path.write_text('claim_code = "seven purple kettles"\n' + "#" * 70_000)
    agent = machine.boot()
    assert "larger than 64 KiB" in agent.preseed.notes[0]
    redact_claim_code(machine.paths)
    assert path.stat().st_size > 70_000


def test_a_file_from_notepad(machine: Machine) -> None:
    path = machine.paths.bootfs / "hearth.toml"
    path.write_bytes(b'\xef\xbb\xbftimezone = "Europe/Berlin"\r\n')
    agent = machine.boot()
    assert agent.preseed.notes == ()
    session = machine.claim()
    assert machine.ask(GetDraft(session=session)).timezone == "Europe/Berlin"


@pytest.mark.parametrize(
    "statement",
    [
        'claim_code = "seven purple kettles"',
        "  claim_code='seven purple kettles'  # mine",
        '"claim_code" = "seven purple kettles"',
        "'claim_code' = \"seven purple kettles\"",
        'claim_code = """\nseven purple\nkettles"""',
        'claim_code = """seven \\\n\n  purple kettles"""',
        "claim_code = '''\nseven purple\n# = kettles'''",
    ],
)
def test_a_used_secret_leaves_the_card_however_it_is_written(
    machine: Machine, statement: str
) -> None:
    machine.preseed(f'timezone = "UTC"\n{statement}\nhostname = "attic"\n')
    assert redact_claim_code(machine.paths) == ()
    text = (machine.paths.bootfs / "hearth.toml").read_text()
    assert text == (
        'timezone = "UTC"\n# claim_code was used, and Hearth has removed it\nhostname = "attic"\n'
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('"claim\\u005fcode" = "seven purple kettles"\n# claim_code', "written in a way"),
        ('claim_code = "seven purple kettles', "cannot be read"),
    ],
)
def test_a_secret_that_stays_becomes_a_note(machine: Machine, text: str, why: str) -> None:
    machine.preseed(text)
    [note] = redact_claim_code(machine.paths)
    assert "the used claim_code stays in hearth.toml" in note
    assert why in note
    assert (machine.paths.bootfs / "hearth.toml").read_text() == text


def test_the_text_of_another_value_is_no_statement(machine: Machine) -> None:
    other = 'ssh_key = """\nclaim_code = x\n"""\n'
    machine.preseed(f'{other}claim_code = "seven purple kettles"\n')
    redact_claim_code(machine.paths)
    text = (machine.paths.bootfs / "hearth.toml").read_text()
    assert text.startswith(other)
    assert "kettles" not in text


def wifi_of(text: str) -> tuple[Wifi | None, str]:
    """What the file says of the network "Hut", and what the owner is told."""
    found = parse_preseed(f'wifi_ssid = "Hut"\n{text}\n')
    return found.wifi, "\n".join(found.notes)


@pytest.mark.parametrize("number", ["12345678", "98765432109876543210"])
def test_a_wifi_password_of_digits_may_lack_its_quotes(number: str) -> None:
    assert wifi_of(f"wifi_password = {number}") == (Wifi(ssid=b"Hut".hex(), key=number), "")


@pytest.mark.parametrize("value", ["12_345_678", "+12345678", "0x12345678", "12345678.5", "true",
                                   "['eight letters']", "12345678 # 9", "1234567"])  # fmt: skip
def test_a_wifi_password_of_another_kind_is_no_open_network(value: str) -> None:
    wifi, notes = wifi_of(f"wifi_password = {value}")
    assert wifi is None
    assert "wifi_password stays on the card and is not used" in notes
    assert "12345678" not in notes
    assert "eight letters" not in notes


@pytest.mark.parametrize("key", ["wifi_pasword", "wifi_key", "password", "wpa_passphrase"])
def test_a_misspelt_password_is_no_open_network(key: str) -> None:
    wifi, notes = wifi_of(f'{key} = "eight letters"')
    assert wifi is None
    assert f"{key!r} may be meant for it" in notes
    assert "eight letters" not in notes
    wifi, _ = wifi_of(f'{key} = "nine letters"\nwifi_password = "eight letters"')
    assert wifi == Wifi(ssid=b"Hut".hex(), key="eight letters")


def test_a_network_without_a_password_is_an_open_one() -> None:
    assert wifi_of("") == (Wifi(ssid=b"Hut".hex()), "")


def test_a_password_without_a_usable_name_stays_on_the_card_with_a_note(machine: Machine) -> None:
    secret = 'wifi_password = "eight letters"\n'
    for name, why in (("", "there is no wifi_ssid"), (f'wifi_ssid = "{"x" * 33}"\n', "bytes")):
        machine.preseed(name + secret)
        preseed = machine.boot().preseed
        assert preseed.wifi is None
        assert why in "\n".join(preseed.notes)
        assert "wifi_password stays on the card" in "\n".join(preseed.notes)
        assert secret in (machine.paths.bootfs / "hearth.toml").read_text()


def test_a_code_that_could_not_be_removed_is_tried_again_and_told(machine: Machine) -> None:
    odd = '"claim\\u005fcode" = "seven purple kettles"  # my claim_code\n'
    machine.preseed(odd)
    machine.boot()
    machine.claim()
    save_state(State(phase=Phase.READY), machine.paths.state)
    assert any("the used claim_code stays" in note for note in machine.boot().preseed.notes)
    machine.preseed('claim_code = "seven purple kettles"\n')
    assert machine.boot().preseed.notes == ()
    assert "kettles" not in (machine.paths.bootfs / "hearth.toml").read_text()
