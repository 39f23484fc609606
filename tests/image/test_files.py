"""Every file of the slot: owners, modes, and nothing that is a secret or tells of the builder."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from image.conftest import Entry
from imagebuild.context import Context
from imagebuild.host import find_mirrors
from imagebuild.packages import load_lock
from imagebuild.recipe import SOURCE

pytestmark = pytest.mark.image

# Debian's own; each is what its package installs. A new name here is a decision.
SET_ID = {
    "usr/bin/chage": 0o2755,  # group shadow: reads one's own password age
    "usr/bin/chfn": 0o4755,
    "usr/bin/chsh": 0o4755,
    "usr/bin/expiry": 0o2755,
    "usr/bin/gpasswd": 0o4755,
    "usr/bin/mount": 0o4755,
    "usr/bin/newgrp": 0o4755,
    "usr/bin/passwd": 0o4755,
    "usr/bin/ssh-agent": 0o2755,
    "usr/bin/su": 0o4755,
    "usr/bin/umount": 0o4755,
    "usr/lib/dbus-1.0/dbus-daemon-launch-helper": 0o4754,
    "usr/lib/openssh/ssh-keysign": 0o4755,
    "usr/lib/polkit-1/polkit-agent-helper-1": 0o4755,
    "usr/sbin/unix_chkpwd": 0o2755,
}
STICKY = {"tmp", "var/tmp", "run/lock"}
OURS = ("usr/lib/python3/dist-packages/", "usr/share/hearth/", "usr/lib/hearth/")
# Synapse publishes one in its source, for a debug console ("manhole") that we never open; GnuTLS
# has those in it that it tests itself with.
PUBLISHED = ("/manhole.", "/libgnutls.so.")
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40,}")


def files(entries: dict[str, Entry]) -> Iterator[tuple[str, Entry]]:
    return ((name, entry) for name, entry in entries.items() if stat.S_ISREG(entry.mode))


def grep(slot: Path, *patterns: str) -> list[str]:
    """Files with any of the fixed strings in them, binary ones too."""
    options = [option for pattern in patterns for option in ("-e", pattern)]
    result = subprocess.run(
        ["grep", "-rlFa", *options, "--", "."],
        cwd=slot, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode in (0, 1), result.stderr
    return [line.removeprefix("./") for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def from_debian(slot: Path) -> set[str]:
    """What dpkg installed; all else was made by us, or by maintainer scripts for us."""
    names = set()
    for path in (slot / "var/lib/dpkg/info").glob("*.list"):
        names.update(line.lstrip("/") for line in path.read_text().splitlines())
    return names


def test_set_id_programs_are_those_we_know(entries: dict[str, Entry]) -> None:
    found = {name: entry.mode & 0o7777 for name, entry in files(entries) if entry.mode & 0o6000}
    assert found.items() <= SET_ID.items(), found.items() - SET_ID.items()


def test_nothing_is_writable_for_everybody(entries: dict[str, Entry]) -> None:
    found = {
        name: oct(entry.mode)
        for name, entry in entries.items()
        if entry.mode & 0o002 and not stat.S_ISLNK(entry.mode) and not stat.S_ISCHR(entry.mode)
    }
    assert found.keys() <= STICKY, found
    assert all(entries[name].mode & stat.S_ISVTX for name in found)


def test_code_and_configuration_belong_to_root(entries: dict[str, Entry]) -> None:
    for name, entry in entries.items():
        if name.startswith(("usr/", "boot/", "etc/systemd/")) and entry.mode & 0o6000 == 0:
            assert entry.uid == 0, name
            assert not entry.mode & 0o020 or stat.S_ISLNK(entry.mode) or entry.gid in (0, 50), name


def test_our_files_are_readable_for_the_services_users(entries: dict[str, Entry]) -> None:
    for name, entry in entries.items():
        if name.startswith(OURS) and not stat.S_ISLNK(entry.mode):
            assert entry.mode & 0o444 == 0o444, name
            if stat.S_ISDIR(entry.mode):
                assert entry.mode & 0o777 == 0o755, name


def test_there_are_no_device_nodes(entries: dict[str, Entry]) -> None:
    assert not [name for name in entries if name.startswith("dev/")]
    kinds = {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}
    assert not [name for name, entry in entries.items() if stat.S_IFMT(entry.mode) not in kinds]


def test_every_owner_has_a_name(entries: dict[str, Entry], slot: Path) -> None:
    users = {int(line.split(":")[2]) for line in (slot / "etc/passwd").read_text().splitlines()}
    groups = {int(line.split(":")[2]) for line in (slot / "etc/group").read_text().splitlines()}
    assert {entry.uid for entry in entries.values()} <= users
    assert {entry.gid for entry in entries.values()} <= groups


def test_no_account_has_a_password(slot: Path) -> None:
    shadow = dict(line.split(":")[:2] for line in (slot / "etc/shadow").read_text().splitlines())
    assert shadow
    assert {text for text in shadow.values()} <= {"*", "!", "!*", "!!"}
    for line in (slot / "etc/passwd").read_text().splitlines():
        name, password, uid, *_ = line.split(":")
        assert password == "x", name
        assert name == "root" or uid != "0"
        assert name in shadow


def test_there_are_no_private_keys(slot: Path) -> None:
    found = [name for name in grep(slot, "PRIVATE KEY-----")
             if PRIVATE_KEY.search((slot / name).read_bytes())]  # fmt: skip
    assert not [name for name in found if not any(known in name for known in PUBLISHED)]


def test_there_is_no_identity_to_share(slot: Path) -> None:
    """What every appliance must make for itself at its first boot."""
    assert (slot / "etc/machine-id").read_bytes() == b""
    assert not list((slot / "etc/ssh").glob("ssh_host_*"))
    for name in ("etc/hostname", "var/lib/dbus/machine-id", "var/lib/systemd/random-seed",
                 "var/lib/systemd/credential.secret", "etc/ssl/private/ssl-cert-snakeoil.key",
                 "etc/resolv.conf", "etc/fstab"):  # fmt: skip
        path = slot / name
        assert not path.exists() or path.is_symlink() or not path.read_bytes().strip(), name
    for directory in ("data", "root/.ssh", "home", "var/log", "var/cache", "var/tmp", "tmp",
                      "var/lib/postgresql", "var/mail", "srv"):  # fmt: skip
        path = slot / directory
        left = [p for p in path.rglob("*") if p.is_file()] if path.exists() else []
        assert not left, directory


def test_nothing_tells_of_the_build_host(
    slot: Path, context: Context, from_debian: set[str]
) -> None:
    places = {str(SOURCE), str(context.cache), str(context.build), str(Path.home() / ".cache")}
    places |= {str(path.resolve()) for path in (context.tools, context.layers)}
    assert not grep(slot, *(place for place in places if len(place) > 4))
    hosts = {mirror.uri.split("//", 1)[1].split("/")[0] for mirror in find_mirrors("trixie")}
    hosts |= {os.uname().nodename} if len(os.uname().nodename) > 8 else set()
    assert not [name for name in grep(slot, *hosts) if name not in from_debian]


def test_no_package_registry_is_named_by_us(slot: Path, from_debian: set[str]) -> None:
    """Documentation inside of other people's programs may; our files and settings may not."""
    theirs = ("usr/lib/hearth/synapse/", "usr/lib/hearth/dendrite/", "var/lib/dpkg/")
    # Asked of the host: nothing in this repository names them.
    mirrors = {mirror.uri.split("//", 1)[1].split("/")[0] for mirror in find_mirrors("trixie")}
    found = {name for name in grep(slot, *mirrors, "py" + "pi" + ".org")
             if name not in from_debian and not name.startswith(theirs)}  # fmt: skip
    compiled = {name for name in found if name.endswith(".cpython-313.pyc")}
    sources = {name: re.sub(r"__pycache__/(.*)\.cpython-313\.pyc", r"\1.py", name)
               for name in compiled}  # fmt: skip
    assert not {name for name in found if sources.get(name) not in from_debian}
    assert not list(slot.rglob("direct_url.json"))


def test_what_the_slot_does_not_need_is_not_there(entries: dict[str, Entry]) -> None:
    packages = "usr/lib/python3/dist-packages/"
    for name in ("imagebuild", "pytest", "pip", "setuptools"):
        assert packages + name not in entries, name
    for name in ("usr/bin/apt", "usr/bin/apt-get", "usr/bin/gcc", "usr/sbin/policy-rc.d",
                 "usr/bin/qemu-aarch64", "lib64", "usr/lib/x86_64-linux-gnu"):  # fmt: skip
        assert name not in entries, name


def test_nothing_of_the_host_was_left_by_the_native_interpreters(slot: Path) -> None:
    """Every program and library is for arm64: none of the tools tree's came in."""
    wrong = []
    for path in slot.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            head = file.read(20)
        if head[:4] == b"\x7fELF" and head[18:20] not in (b"\xb7\x00", b"\xf7\x00"):  # AArch64, BPF
            wrong.append(str(path.relative_to(slot)))
    assert not wrong


def test_all_packages_are_configured_and_those_of_the_lock(slot: Path, context: Context) -> None:
    stanzas = (slot / "var/lib/dpkg/status").read_text().strip().split("\n\n")
    found = {}
    for stanza in stanzas:
        fields = dict(re.findall(r"^(\S+): (.*)$", stanza, flags=re.M))
        assert fields["Status"] == "install ok installed", fields["Package"]
        found[fields["Package"]] = fields["Version"]
    manifest = json.loads((context.build / f"{context.name}.json").read_text())
    debs = {part["name"]: part["version"] for part in manifest["components"]
            if part["kind"] == "deb"}  # fmt: skip
    assert found.items() <= debs.items()
    if context.recipe.locked:
        lock = load_lock(context.lock)
        assert found == {package.name: package.version for package in lock.root}


def test_the_image_says_what_it_is(slot: Path, context: Context) -> None:
    facts = json.loads((slot / "usr/share/hearth/image.json").read_text())
    assert facts["version"] == context.recipe.version
    assert facts["development"] is True
    assert facts["version"].endswith("-dev")
    assert facts["boot_interface"] == 1
    [release] = (slot / "usr/lib/modules").iterdir()
    assert facts["kernel"] == release.name
