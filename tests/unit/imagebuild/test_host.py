"""Which mirrors: the host's own, whatever form its source files have, or the one that was given."""

from __future__ import annotations

import shutil

import pytest

from appliance.errors import MissingToolError
from imagebuild import host
from imagebuild.host import Mirror, find_mirrors, source_lines

MIRROR = "http://mirror.example/debian/"


def test_a_given_mirror_is_used_for_everything() -> None:
    found = find_mirrors("trixie", mirror=MIRROR)
    assert found == (
        Mirror(uri="http://mirror.example/debian", suite="trixie"),
        Mirror(uri="http://mirror.example/debian", suite="trixie-updates"),
        Mirror(uri="http://mirror.example/debian", suite="trixie-backports"),
        Mirror(uri="http://mirror.example/debian-security", suite="trixie-security"),
    )


def test_the_hosts_own_mirrors_are_asked_of_apt() -> None:
    if shutil.which("apt-get") is None:
        pytest.skip("not a Debian machine")
    found = find_mirrors("trixie")
    assert [mirror.suite for mirror in found] == [
        "trixie", "trixie-updates", "trixie-backports", "trixie-security",
    ]  # fmt: skip
    assert all("://" in mirror.uri and not mirror.uri.endswith("/") for mirror in found)


def test_source_lines_are_signed_and_name_the_architecture() -> None:
    lines = source_lines(find_mirrors("trixie", mirror=MIRROR), "arm64").splitlines()
    assert len(lines) == 4
    for line in lines:
        assert line.startswith("deb [arch=arm64 signed-by=/usr/share/keyrings/debian-archive")
        assert line.endswith(" main non-free-firmware")


def test_an_unknown_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.platform, "machine", lambda: "riscv64")
    with pytest.raises(MissingToolError, match="'riscv64'"):
        host.debian_architecture()
