"""What will run, judged by systemd of the image's own version: starts, cages, doors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from image.conftest import Tool

pytestmark = pytest.mark.image

SYSTEM = "usr/lib/systemd/system"
# What is reached from a network, in tenths of exposure (architecture, section 6).
LISTENERS = ("nginx", "avahi-daemon", "hearth-ui", "hearth-synapse", "hearth-dendrite",
             "hearth-postgresql", "hearth-wifi", "systemd-timesyncd",
             "systemd-networkd")  # fmt: skip
LISTENER_LIMIT = 30
AGENT_LIMIT = 50
# A listener must have been looked at before it may be wanted by anything.
ENABLED = {
    "avahi-daemon.service", "avahi-daemon.socket", "dbus.service", "dbus.socket", "nginx.service",
    "systemd-networkd.service", "systemd-networkd.socket", "systemd-timesyncd.service",
    "hearth-agent.service", "hearth-agent.socket", "hearth-apply.service",
    "hearth-bootfs.service", "hearth-certificate.timer", "hearth-dendrite.service",
    "hearth-hostname.service", "hearth-postgresql.service", "hearth-slot-good.service",
    "hearth-strangers.service", "hearth-synapse.service", "hearth-tidy.timer",
    "hearth-rescue-end.timer", "hearth-update.timer",
    "hearth-ui.service", "hearth-ui.socket", "hearth-zram.service",
    "hearth-mark.service", "hearth-settle.service", "hearth-sync.service", "hearth-verdict.service",
    # by hearth-public.target, which waits for a public listener to be configured
    "hearth-acme.timer", "hearth-ddns.timer", "hearth-portmap.timer", "hearth-router.service",
    "hearth-federation.timer", "hearth-wakeup.timer",
    "hearth-tunnel.service",
}  # fmt: skip


def is_masked(path: Path) -> bool:
    return path.is_symlink() and str(path.readlink()) == "/dev/null"


def wanted(slot: Path) -> set[str]:
    """Units that some target pulls in, but for those that are masked or whose target is."""
    local = slot / "etc/systemd/system"
    found = set()
    for directory in (local, slot / SYSTEM):
        for path in directory.glob("*.target.*/*"):
            kind = path.parent.suffix in (".wants", ".requires", ".upholds")
            template = re.sub(r"@.*\.", "@.", path.name)
            by = (path.name, template, path.parent.stem)
            if kind and not any(is_masked(local / name) for name in by):
                found.add(path.name)
    return found


def our_units(slot: Path) -> list[str]:
    return sorted(path.name for path in (slot / SYSTEM).glob("hearth-*.*") if path.is_file())


def test_what_starts_is_systemds_own_or_on_the_list(slot: Path) -> None:
    names = wanted(slot)
    own = re.compile(r"(systemd-.*|kmod-static-nodes)\.\w+|.*\.(target|slice|path|(auto)?mount)")
    others = {name for name in names if not own.fullmatch(name)}
    assert others <= ENABLED, others - ENABLED
    assert ENABLED - others <= {"systemd-networkd.service", "systemd-networkd.socket",
                                "systemd-timesyncd.service"}  # fmt: skip


def test_nobody_can_sign_in_at_a_console(slot: Path) -> None:
    for name in ("getty@.service", "serial-getty@.service", "console-getty.service"):
        assert is_masked(slot / "etc/systemd/system" / name), name
    assert is_masked(slot / "etc/systemd/system-generators/systemd-getty-generator")
    assert is_masked(slot / "etc/systemd/system-generators/systemd-debug-generator")
    assert "debug-shell.service" not in wanted(slot)


def test_a_broken_start_gives_no_shell(slot: Path) -> None:
    """emergency.service asks for root's password, and root has none (sulogin(8))."""
    text = (slot / "etc/shadow").read_text()
    assert re.search(r"^root:[*!]", text, flags=re.M)
    for path in (slot / "etc/systemd/system").rglob("*.conf"):
        assert "SYSTEMD_SULOGIN_FORCE" not in path.read_text()


def test_what_cannot_start_is_started_again_and_not_left_with_a_shell(slot: Path) -> None:
    unit = (slot / "etc/systemd/system/emergency.service").read_text()
    assert "SuccessAction=reboot" in unit
    assert "sulogin" not in re.sub(r"^#.*$", "", unit, flags=re.M)
    manager = (slot / "usr/lib/systemd/system.conf.d/hearth.conf").read_text()
    assert re.search(r"^CrashAction=reboot$", manager, flags=re.M)


def test_only_the_verdict_marks_a_slot_good(slot: Path) -> None:
    """RAUC's own unit would, at every start, whatever works and whatever does not."""
    assert "rauc-mark-good.service" not in wanted(slot)
    for path in (slot / SYSTEM).rglob("*.service"):
        if path.is_file():
            assert not re.search(r"rauc\s+status\s+mark-good", path.read_text()), path


@pytest.mark.parametrize("unit", ["postgresql", "synapse", "dendrite", "provision", "slot-good"])
def test_rescue_mode_leaves_the_owners_data_alone(slot: Path, unit: str) -> None:
    text = (slot / SYSTEM / f"hearth-{unit}.service").read_text()
    assert re.search(r"^ConditionKernelCommandLine=!hearth\.rescue=1$", text, flags=re.M)


def test_a_verdict_waits_for_nothing(slot: Path) -> None:
    """What it must find out is that something else never comes."""
    text = (slot / SYSTEM / "hearth-verdict.service").read_text()
    values = dict(re.findall(r"^(\w+)=(.*)$", text, flags=re.M))
    assert values["DefaultDependencies"] == "no"
    assert values["FailureAction"] == "reboot-force"
    assert values["WantedBy"] == "sysinit.target"
    assert not {"After", "Requires", "BindsTo", "PrivateTmp", "RequiresMountsFor"} & set(values)


def test_ssh_is_off(slot: Path) -> None:
    assert not {"ssh.service", "ssh.socket", "sshd.service", "sshd.socket"} & wanted(slot)
    assert is_masked(slot / "etc/systemd/system-generators/systemd-ssh-generator")
    configuration = (slot / "etc/ssh/sshd_config.d/hearth.conf").read_text()
    assert re.search(r"^PasswordAuthentication no$", configuration, flags=re.M)
    assert re.search(r"^KbdInteractiveAuthentication no$", configuration, flags=re.M)


def test_sockets_are_those_we_know(slot: Path) -> None:
    """Every ListenStream and ListenDatagram of a socket unit that will be opened."""
    network = []
    for name in wanted(slot):
        if not name.endswith(".socket"):
            continue
        places = (slot / "etc/systemd/system" / name, slot / SYSTEM / name)
        path = next(place for place in places if place.exists())
        for value in re.findall(r"^Listen(?:Stream|Datagram)=(.*)$", path.read_text(), flags=re.M):
            if not value.startswith(("/", "@", "%t")):
                network.append((name, value))
    assert not network


@pytest.mark.parametrize("unit", LISTENERS)
def test_what_listens_is_caged(in_tools: Tool, unit: str) -> None:
    in_tools("systemd-analyze security --offline=true --root=/media --no-pager"
             f" --threshold={LISTENER_LIMIT} {unit}.service")  # fmt: skip


def test_the_agent_is_caged_as_far_as_its_work_allows(in_tools: Tool) -> None:
    in_tools("systemd-analyze security --offline=true --root=/media --no-pager"
             f" --threshold={AGENT_LIMIT} hearth-agent.service")  # fmt: skip


def test_systemd_understands_every_unit_of_ours(slot: Path, in_tools: Tool) -> None:
    names = " ".join(our_units(slot))
    said = in_tools(f"systemd-analyze verify --root=/media --man=no {names} nginx.service 2>&1")
    complaints = [line for line in said.splitlines() if "hearth" in line or "nginx" in line]
    assert not complaints


def test_the_start_has_no_ordering_cycle(in_tools: Tool) -> None:
    """systemd breaks a cycle by leaving out a job of it: on one boot a timer, on the next nginx.

    A unit alone shows no cycle; the whole start does.
    """
    said = in_tools("systemd-analyze verify --root=/media --man=no multi-user.target 2>&1 || true")
    assert "cycle" not in said, said


def test_programs_of_our_units_are_there(slot: Path) -> None:
    for name in our_units(slot):
        text = (slot / SYSTEM / name).read_text()
        for program in re.findall(r"^Exec\w+=[-+!@:|]*(/\S+)", text, flags=re.M):
            assert (slot / program.lstrip("/")).exists(), f"{name}: {program}"


def test_users_of_our_units_are_there(slot: Path) -> None:
    users = {line.split(":")[0] for line in (slot / "etc/passwd").read_text().splitlines()}
    for name in our_units(slot):
        for user in re.findall(r"^User=(\S+)$", (slot / SYSTEM / name).read_text(), flags=re.M):
            assert user in users, f"{name}: {user}"


def test_nginx_listens_where_it_should_and_nowhere_else(slot: Path) -> None:
    """Before setup: the pages. What is rendered later has its own tests."""
    texts = [(slot / "etc/nginx/nginx.conf").read_text()]
    texts += [path.read_text() for path in (slot / "etc/nginx").glob("hearth*.conf")]
    ports = {value.split()[0] for text in texts
             for value in re.findall(r"^\s*listen\s+([^;]+);", text, flags=re.M)}  # fmt: skip
    assert ports <= {"80", "[::]:80", "443", "[::]:443"}, ports
    assert not (slot / "etc/nginx/sites-enabled/default").is_symlink()
