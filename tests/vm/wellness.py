"""What holds on any appliance in a machine, whatever it is set up for."""

from __future__ import annotations

import json

from appliance.layout import DATA, SLOT_B
from services.recovery import open_recovery_file
from vm.guest import Guest
from vm.wizard import Wizard

PASSPHRASE = "kept in a drawer at home"
FOREIGN = """
import http.client
c = http.client.HTTPConnection("127.0.0.1", 80)
c.request("GET", "/claim", headers={"Host": "evil.example.com"})
print(c.getresponse().status)
"""


def the_first_boot_has_completed_the_card(guest: Guest) -> None:
    report = guest.ssh("cat", "/run/hearth/boot")
    for line in ("slot=A", "data=ok", "first_boot=1"):
        assert line in report
    table = json.loads(guest.ssh("sfdisk", "--json", "/dev/vda"))["partitiontable"]
    starts = [entry["start"] * 512 for entry in table["partitions"]]
    assert starts[2:] == [SLOT_B.start, DATA.start]
    assert table["id"].lower() != "0x48545248"
    assert "ro," in guest.ssh("findmnt", "-no", "OPTIONS", "/")


def nothing_has_failed(guest: Guest) -> None:
    assert guest.ssh("systemctl", "--failed", "--no-legend").strip() == ""
    assert "ordering cycle" not in guest.ssh("journalctl", "-b", "--no-pager", "-q")


def nothing_listens_that_need_not(guest: Guest) -> None:
    lines = guest.ssh("ss", "-Hlntu").splitlines()
    ports = {(line.split()[0], int(line.split()[4].rpartition(":")[2])) for line in lines}
    # 22 only because a key was preseeded; 68 and 546 are the DHCP clients' own.
    fixed = {(kind, port) for kind, port in ports if port < 32768}
    assert fixed <= {("tcp", 22), ("tcp", 80), ("tcp", 443), ("udp", 5353), ("udp", 68),
                     ("udp", 546)}  # fmt: skip


def foreign_names_and_wrong_codes_are_refused(guest: Guest, wizard: Wizard) -> None:
    assert guest.ssh("python3", "-c", FOREIGN).strip() in ("403", "421")
    wizard.page.goto(wizard.url)
    wizard.send(code="0000-0000")
    assert "code" in wizard.page.inner_text("#code-error").lower()


def the_recovery_file_opens(guest: Guest, wizard: Wizard, signing_key: str) -> None:
    """With its passphrase; ``signing_key`` is the file that it is there to save."""
    content = wizard.download_recovery_file(PASSPHRASE)
    assert b"ed25519" not in content
    opened = open_recovery_file(content, PASSPHRASE)
    assert guest.ssh("cat", signing_key).split()[-1] in repr(opened)


def the_doctor_tells_the_truth(guest: Guest, *units: str) -> None:
    """``units``: the homeserver's, started again once the database is back."""
    assert "ready" in guest.ssh("hearthctl", "status", "--json")
    assert _found_failed(guest) == set()
    guest.ssh("systemctl", "stop", "hearth-postgresql")
    assert "database" in _found_failed(guest)
    guest.ssh("systemctl", "start", "hearth-postgresql", *units)


def _found_failed(guest: Guest) -> set[str]:
    report = json.loads(guest.ssh("hearthctl", "doctor", "--json", seconds=600, check=False))
    return {check["name"] for check in report["findings"] if check["verdict"] == "fail"}


def a_restart_repeats_no_work(guest: Guest, signing_key: str) -> None:
    """And changes neither who the server is nor how far its setup has come."""
    kept = ["sha256sum", signing_key, "/data/system/machine-id", "/data/hearth/state.json"]
    before = guest.ssh(*kept)
    guest.reboot()
    assert "first_boot=0" in guest.ssh("cat", "/run/hearth/boot")
    assert guest.ssh(*kept) == before
    assert "provision" not in guest.ssh("journalctl", "-b", "-o", "short", "-u",
                                        "hearth-provision", "--no-pager", "-q")  # fmt: skip
