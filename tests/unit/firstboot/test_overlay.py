"""What lies in overlays/base for the agent, compared with the code and judged by systemd."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.paths import Paths
from appliance.persistence import PERSISTED
from appliance.run import find_tool, run
from firstboot.cli import make_parser
from services.mdns import ALIAS

BASE = Path(__file__).parents[3] / "overlays" / "base"
UNITS = BASE / "usr/lib/systemd/system"


def test_tmpfiles_makes_the_directories_that_persist() -> None:
    rows = [line.split()[:5] for line in (BASE / "usr/lib/tmpfiles.d/hearth.conf").read_text()
            .splitlines() if line.startswith("d")]  # fmt: skip
    made = {path: (mode, f"{user}:{group}") for _, path, mode, user, group in rows}
    for entry in PERSISTED:
        if not entry.is_file:
            assert made[f"/data/{entry.path}"] == (f"{entry.mode:04o}", entry.owner)


def test_users_have_fixed_numbers() -> None:
    numbers = []
    for path in (BASE / "usr/lib/sysusers.d").glob("*.conf"):
        for line in path.read_text().splitlines():
            if line.startswith("u"):
                numbers.append(int(line.split()[2]))
    assert len(numbers) >= 3
    assert len(set(numbers)) == len(numbers)
    assert all(100 < number < 1000 for number in numbers)


def test_paths_are_the_codes() -> None:
    paths = Paths()
    assert f"ListenStream={paths.agent_socket}\n" in (UNITS / "hearth-agent.socket").read_text()
    sshd = (BASE / "etc/ssh/sshd_config.d/hearth.conf").read_text()
    assert f"HostKey {paths.ssh}/ssh_host_ed25519_key\n" in sshd
    assert f"AuthorizedKeysFile {paths.runtime}/ssh/authorized_keys\n" in sshd
    agent = (UNITS / "hearth-agent.service").read_text()
    assert f"ReadWritePaths={paths.data} {paths.runtime}\n" in agent
    assert f"ReadWritePaths=-{paths.bootfs}\n" in agent
    assert ALIAS == "hearth.local"


def test_verbs_in_units_exist() -> None:
    """What no test on a host would start."""
    parser = make_parser()
    for unit in UNITS.glob("hearth-*.service"):
        for command in re.findall(
            r"^Exec\w+=\S*python3 -m firstboot (.+)$", unit.read_text(), re.M
        ):
            assert parser.parse_args(command.split()).verb, f"{unit.name}: {command}"
    provision = (UNITS / "hearth-provision.service").read_text()
    assert "ExecStopPost=/usr/bin/python3 -m firstboot provision-ended\n" in provision


@pytest.mark.parametrize(
    "unit",
    ["usr/lib/systemd/system/hearth-agent.service", "usr/lib/systemd/system/hearth-ui.service",
     "etc/systemd/system/nginx.service"],
)  # fmt: skip
def test_the_way_in_is_never_given_up(unit: str) -> None:
    """By default five failures in ten seconds are the end, until somebody pulls the plug."""
    text = (BASE / unit).read_text()
    assert re.search(r"^Restart=always$", text, re.MULTILINE)
    assert re.search(r"^StartLimitIntervalSec=0$", text.partition("[Service]")[0], re.MULTILINE)


@pytest.mark.parametrize("unit", ["hearth-synapse", "hearth-dendrite", "hearth-wifi"])
def test_what_is_started_again_for_ever_is_not_started_ever_faster(unit: str) -> None:
    """systemd.service(5): RestartSteps= counts only together with RestartMaxDelaySec=."""
    head, service = (UNITS / f"{unit}.service").read_text().split("[Service]")
    assert re.search(r"^StartLimitIntervalSec=0$", head, re.MULTILINE)
    assert "StartLimitBurst" not in head
    for setting in ("Restart", "RestartSec", "RestartSteps", "RestartMaxDelaySec"):
        assert re.search(rf"^{setting}=\S+$", service, re.MULTILINE), setting


def test_the_pages_never_wait_for_the_network() -> None:
    for unit in ("hearth-agent.service", "hearth-agent.socket", "hearth-hostname.service"):
        text = (UNITS / unit).read_text()
        assert not re.search(r"network-online|time-sync|nss-lookup", text), unit


ALL_UNITS = sorted(file.name for file in UNITS.iterdir() if file.is_file())


def test_every_unit_is_wanted_by_what_its_install_section_says() -> None:
    """Nothing enables them on the appliance: /etc is made anew at every start."""
    said = {
        (target, unit)
        for unit in ALL_UNITS
        for target in re.findall(r"^WantedBy=(\S+)$", (UNITS / unit).read_text(), re.MULTILINE)
    }
    links = {
        (link.parent.name.removesuffix(".wants"), link.name)
        for link in UNITS.glob("*.wants/*")
        if link.name in ALL_UNITS
    }
    assert said == links
    assert all(link.exists() for link in UNITS.glob("*.wants/*") if link.name in ALL_UNITS)


@pytest.mark.parametrize("unit", [unit for unit in ALL_UNITS if unit.endswith(".timer")])
def test_every_timer_fires_and_has_what_it_starts(unit: str) -> None:
    text = (UNITS / unit).read_text()
    # A timer that counts from its own start, from the machine's, or by the calendar begins at all.
    assert re.search(r"^On(ActiveSec|BootSec|StartupSec|Calendar)=", text, re.MULTILINE)
    assert (UNITS / unit).with_suffix(".service").exists()


@pytest.mark.parametrize("unit", ALL_UNITS)
def test_what_waits_for_the_configuration_does_not_start_before_it(unit: str) -> None:
    """Timers and paths come before basic.target by default, the configuration after it: a cycle."""
    text = (UNITS / unit).read_text()
    waits = re.search(r"^After=.*hearth-apply\.service", text, re.MULTILINE)
    if waits and unit.endswith((".timer", ".path", ".socket")):
        assert re.search(r"^DefaultDependencies=no$", text, re.MULTILINE)


def test_attempts_come_back_before_the_machine_is_idle() -> None:
    """A new card is busy for minutes, and seven short starts in a row use the attempts up."""
    text = (UNITS / "hearth-slot-good.service").read_text()
    assert not re.search(r"^(CPUSchedulingPolicy|IOSchedulingClass|Nice)=", text, re.MULTILINE)


@pytest.mark.skipif(find_tool("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize(
    ("unit", "limit"),
    [
        ("hearth-agent", 50),
        ("hearth-slot-good", 50),
        ("hearth-rescue-end", 50),
        ("hearth-federation", 50),
        ("hearth-federation-check", 50),
        ("hearth-wakeup", 50),
        ("hearth-acme", 50),
        ("hearth-ddns", 50),
        ("hearth-ddns-check", 50),
        ("hearth-portmap", 50),
        ("hearth-strangers", 50),
        ("hearth-neighbours", 50),
        ("hearth-network-check", 50),
        ("hearth-router", 30),
        ("hearth-tunnel", 30),
        ("hearth-tunnel-check", 50),
    ],
)
def test_the_cages_are_tight(unit: str, limit: int) -> None:
    """Exposure in tenths, as `systemd-analyze security --threshold` takes it."""
    run(["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={limit}",
         UNITS / f"{unit}.service"])  # fmt: skip
