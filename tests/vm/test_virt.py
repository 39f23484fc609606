"""The shipping image under -M virt: first boot, wizard, Synapse, encrypted messages, reboot.

Dendrite, and a card that is flashed over, are in test_update.py.

In order, on one machine: each test stands on what those before it have made.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from appliance.layout import DATA, SLOT_B
from vm.conftest import provision
from vm.guest import CLAIM_CODE, Guest
from vm.matrix import Person, converse, history, register, resolving, talk
from vm.wizard import OWNER, PASSWORD, Wizard

pytestmark = [pytest.mark.vm, pytest.mark.timeout(2400)]

MESSAGE = "the first message"
SIGNING_KEY = "/data/homeserver/synapse/signing.key"
FRIEND, FRIEND_PASSWORD = "bea", "another long pass phrase"
PASSPHRASE = "kept in a drawer at home"


class Evening:
    """What the tests hand on to each other."""

    wizard: Wizard
    authority: Path
    room: str
    identity: str


@pytest.fixture(scope="module")
def evening() -> Evening:
    return Evening()


def secret(guest: Guest) -> str:
    text = guest.ssh("cat", "/data/hearth/secrets.toml")
    return str(tomllib.loads(text)["registration_shared_secret"])


def person(guest: Guest, evening: Evening, name: str, *, e2e: bool) -> Person:
    host = guest.mdns_name()
    return Person(
        f"https://{host}:{guest.https}",
        f"@{name}:{host}",
        guest.directory / f"keys-{name}",
        evening.authority,
        e2e=e2e,
    )


def test_first_boot_completes_the_card(first_boot: Guest) -> None:
    report = first_boot.ssh("cat", "/run/hearth/boot")
    assert "slot=A" in report
    assert "data=ok" in report
    assert "first_boot=1" in report
    table = json.loads(first_boot.ssh("sfdisk", "--json", "/dev/vda"))["partitiontable"]
    starts = [entry["start"] * 512 for entry in table["partitions"]]
    assert starts[2:] == [SLOT_B.start, DATA.start]
    assert table["id"].lower() != "0x48545248"
    assert "ro," in first_boot.ssh("findmnt", "-no", "OPTIONS", "/")


def test_nothing_failed_and_nothing_listens_that_need_not(first_boot: Guest) -> None:
    assert first_boot.ssh("systemctl", "--failed", "--no-legend").strip() == ""
    lines = first_boot.ssh("ss", "-Hlntu").splitlines()
    ports = {(line.split()[0], int(line.split()[4].rpartition(":")[2])) for line in lines}
    # 22 only because a key was preseeded; 68 and 546 are the DHCP clients' own.
    fixed = {(kind, port) for kind, port in ports if port < 32768}
    assert fixed <= {("tcp", 22), ("tcp", 80), ("tcp", 443), ("udp", 5353), ("udp", 68),
                     ("udp", 546)}  # fmt: skip


def test_the_console_shows_where_to_go_and_the_code(first_boot: Guest) -> None:
    assert f"hearth: wizard at http://10.0.2.15/ claim code {CLAIM_CODE}" in first_boot.serial


def test_foreign_names_and_wrong_codes_are_refused(first_boot: Guest, browser: Browser) -> None:
    answer = first_boot.ssh("python3", "-c", FOREIGN)
    assert answer.strip() in ("403", "421")
    page = browser.new_context().new_page()
    page.goto(first_boot.url())
    page.fill("[name=code]", "0000-0000")
    page.click("main .button")
    assert "code" in page.inner_text("#code-error").lower()
    page.context.close()


FOREIGN = """
import http.client
c = http.client.HTTPConnection("127.0.0.1", 80)
c.request("GET", "/claim", headers={"Host": "evil.example.com"})
print(c.getresponse().status)
"""


def test_the_wizard_sets_up_synapse(first_boot: Guest, browser: Browser, evening: Evening) -> None:
    evening.wizard = provision(first_boot, browser, "synapse", javascript=True)
    evening.authority = first_boot.authority()
    evening.identity = first_boot.ssh("sha256sum", SIGNING_KEY,
                                      "/data/system/machine-id")  # fmt: skip


def test_the_recovery_file_opens_with_its_passphrase(first_boot: Guest, evening: Evening) -> None:
    from services.recovery import open_recovery_file

    content = evening.wizard.download_recovery_file(PASSPHRASE)
    assert b"ed25519" not in content
    opened = open_recovery_file(content, PASSPHRASE)
    signing_key = first_boot.ssh("cat", SIGNING_KEY).strip()
    assert signing_key.split()[-1] in repr(opened)


def test_two_clients_exchange_an_encrypted_message(first_boot: Guest, evening: Evening) -> None:
    host = first_boot.mdns_name()
    with resolving(host):
        register(f"https://{host}:{first_boot.https}", evening.authority, secret(first_boot),
                 FRIEND, FRIEND_PASSWORD)  # fmt: skip
        evening.room = talk(_converse(first_boot, evening))


async def _converse(guest: Guest, evening: Evening) -> str:
    owner = person(guest, evening, OWNER, e2e=True)
    friend = person(guest, evening, FRIEND, e2e=True)
    try:
        await owner.login(PASSWORD)
        await friend.login(FRIEND_PASSWORD)
        room = await converse(owner, friend, e2e=True, body=MESSAGE)
        for one in (owner, friend):
            assert one.client.device_id
            (guest.directory / f"keys-{one.client.user_id[1:4]}.json").write_text(
                json.dumps([one.client.access_token, one.client.device_id])
            )
    finally:
        await owner.client.close()
        await friend.client.close()
    return room


def test_status_and_doctor_tell_the_truth(first_boot: Guest) -> None:
    status = json.loads(first_boot.ssh("hearthctl", "status", "--json"))
    assert "ready" in json.dumps(status)
    report = json.loads(first_boot.ssh("hearthctl", "doctor", "--json", seconds=600, check=False))
    failed = [check for check in report["findings"] if check["verdict"] == "fail"]
    assert failed == []
    first_boot.ssh("systemctl", "stop", "hearth-postgresql")
    broken = json.loads(first_boot.ssh("hearthctl", "doctor", "--json", seconds=600, check=False))
    names = {check["name"] for check in broken["findings"] if check["verdict"] == "fail"}
    first_boot.ssh("systemctl", "start", "hearth-postgresql", "hearth-synapse")
    assert "database" in names


def test_a_reboot_keeps_the_message_and_repeats_no_work(
    first_boot: Guest, evening: Evening
) -> None:
    steps = json.loads(first_boot.ssh("cat", "/data/hearth/state.json"))
    first_boot.reboot()
    assert "first_boot=0" in first_boot.ssh("cat", "/run/hearth/boot")
    host = first_boot.mdns_name()
    with resolving(host):
        first_boot.wait_for_homeserver(f"https://{host}:{first_boot.https}", evening.authority)
        bodies = talk(_history(first_boot, evening))
    assert MESSAGE in bodies
    assert json.loads(first_boot.ssh("cat", "/data/hearth/state.json")) == steps
    now = first_boot.ssh("sha256sum", SIGNING_KEY, "/data/system/machine-id")
    assert now == evening.identity
    assert "provision" not in first_boot.ssh("journalctl", "-b", "-o", "short", "-u",
                                             "hearth-provision", "--no-pager", "-q")  # fmt: skip


async def _history(guest: Guest, evening: Evening) -> list[str]:
    friend = person(guest, evening, FRIEND, e2e=True)
    try:
        token, device = json.loads((guest.directory / "keys-bea.json").read_text())
        friend.client.restore_login(friend.client.user, device, token)
        return await history(friend, evening.room)
    finally:
        await friend.client.close()
