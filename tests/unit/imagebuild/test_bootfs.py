"""U-Boot's environment: complete, found in a binary, written as U-Boot's own tool writes it."""

from __future__ import annotations

import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from appliance.errors import ImageError
from imagebuild.bootfs import ENVIRONMENT_SIZE, default_environment, render_environment
from imagebuild.context import default_cache
from imagebuild.vm import tool

VALUES = {
    "bootcmd": "run a; run b",
    "bootdelay": "2",
    "fdt_addr_r": "0x02600000",
    "kernel_addr_r": "0x00080000",
    "pxefile_addr_r": "0x02500000",
    "ramdisk_addr_r": "0x02700000",
    "scan": "if test -e mmc 0:1 boot.scr; then echo a=b; fi",
    "stdin": "serial,usbkbd",
}


def binary(values: dict[str, str], *, before: bytes = b"\x7fcode\0some = text\0\0") -> bytes:
    block = b"".join(f"{name}={value}".encode() + b"\0" for name, value in values.items())
    return before + block + b"\0" + b"more code\0bootdelay\0"


@pytest.mark.parametrize("before", [b"\x7fcode\0some = text\0\0", b"\0\0", b"\xff\0", b"text\0"])
def test_the_default_environment_is_found_in_a_binary(before: bytes) -> None:
    assert default_environment(binary(VALUES, before=before)) == VALUES


@pytest.mark.parametrize("first", ["bootcmd", "bootdelay", "stdin"])
def test_the_order_of_entries_does_not_matter(first: str) -> None:
    ordered = {first: VALUES[first], **VALUES}
    assert default_environment(binary(ordered)) == VALUES


def test_a_binary_without_one_is_refused() -> None:
    with pytest.raises(ImageError, match="default environment was not found"):
        default_environment(b"\0" * 1000)
    few = {name: value for name, value in VALUES.items() if name != "bootcmd"}
    with pytest.raises(ImageError) as caught:
        default_environment(binary(few))
    assert "bootcmd" in (caught.value.hint or "")


def test_the_file_form_has_its_checksum() -> None:
    raw = render_environment(VALUES)
    assert len(raw) == ENVIRONMENT_SIZE
    assert int.from_bytes(raw[:4], "little") == zlib.crc32(raw[4:])


def test_uboots_own_tool_writes_the_same(tmp_path: Path) -> None:
    tools = default_cache() / "tools"
    if shutil.which("mkenvimage"):
        prefix = ["mkenvimage"]
    elif (tools / "usr/bin/mkenvimage").exists():
        prefix = tool(tools, "mkenvimage")
    else:
        pytest.skip("no mkenvimage: u-boot-tools is not installed and no tools tree was made")
    text = "".join(f"{name}={value}\n" for name, value in sorted(VALUES.items()))
    (tmp_path / "in").write_text(text)
    subprocess.run(
        [*prefix, "-s", str(ENVIRONMENT_SIZE), "-p", "0", "-o", tmp_path / "out", tmp_path / "in"],
        check=True,
    )
    assert (tmp_path / "out").read_bytes() == render_environment(VALUES)
