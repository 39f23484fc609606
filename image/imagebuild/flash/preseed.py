"""hearth.toml at flash time: asked for by options, checked by the device's own rules, written to
bootfs with mtools. A password is typed or read from a file; it is in no command line."""

from __future__ import annotations

import argparse
import getpass
import sys
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import (
    ConfigError,
    DiskFaultError,
    HearthError,
    MissingToolError,
    UsageError,
)
from appliance.layout import BOOTFS
from appliance.preseed import (
    PRESEED_FILE,
    Preseed,
    check_country,
    check_host_name,
    check_ssh_key,
    check_wifi_name,
    check_wifi_password,
    render_preseed,
)
from appliance.run import find_tool, run
from appliance.validate import check_timezone
from imagebuild.flash.card import Card
from imagebuild.vm import tool

NO_CHECK = {"MTOOLS_SKIP_CHECK": "1"}  # mtools doubts the geometry of a partition in an image


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("set beforehand (in hearth.toml on the card)")
    group.add_argument("--hostname", metavar="NAME", help="NAME.local instead of hearth-xxxx.local")
    group.add_argument("--wifi", metavar="SSID", help="asks for the password; needs --country")
    group.add_argument("--wifi-password-file", type=Path, metavar="FILE", help="instead of asking; "
                       "an empty one for a network without password")  # fmt: skip
    group.add_argument("--ssh-key", type=Path, metavar="FILE", action="append",
                       help="public key (may repeat): opens SSH, and so is a claim")  # fmt: skip
    group.add_argument("--timezone", metavar="ZONE", help="for example Europe/Berlin")
    group.add_argument("--country", metavar="CODE", help="two letters, for Wi-Fi: DE, FR, GB, US")


def make_preseed(options: argparse.Namespace) -> Preseed | None:
    """None where nothing is set. Raises ConfigError, FieldError, UsageError."""
    if options.wifi and not options.country:
        message = "--wifi needs --country: each one allows other channels"
        raise UsageError(message, hint="two letters: --country DE")
    if options.wifi_password_file and not options.wifi:
        raise UsageError("--wifi-password-file needs --wifi", hint="name the network: --wifi SSID")
    preseed = Preseed(
        hostname=check_host_name(options.hostname) if options.hostname else None,
        timezone=check_timezone(options.timezone) if options.timezone else None,
        country=check_country(options.country) if options.country else None,
        wifi_ssid=check_wifi_name(options.wifi) if options.wifi else None,
        wifi_password=_password(options) if options.wifi else None,
        ssh_keys=_keys(options.ssh_key) if options.ssh_key else None,
    )
    return preseed if preseed != Preseed() else None


def _password(options: argparse.Namespace) -> str | None:
    if options.wifi_password_file is not None:
        password = _read(options.wifi_password_file).rstrip("\r\n")
    elif sys.stdin.isatty():
        password = getpass.getpass(f"Password of {options.wifi} (empty for none): ")
    else:
        hint = "give it in a file: --wifi-password-file FILE"
        raise UsageError("nobody can be asked for the Wi-Fi password here", hint=hint)
    return check_wifi_password(password) if password else None


def _keys(files: list[Path]) -> tuple[str, ...]:
    lines = [line.strip() for file in files for line in _read(file).splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise ConfigError(f"{files[0]} has no SSH key in it", hint="give a .pub file")
    if any("PRIVATE KEY" in line for line in lines):
        raise ConfigError(f"{files[0]} is a private key", hint="give the file that ends in .pub")
    return tuple(check_ssh_key(key) for key in keys)


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"{file} cannot be read: {reason}", hint="check its name") from error


@dataclass(frozen=True)
class Preseeder:
    """Writes ``text``; made before anything is written, so that a missing program costs nothing."""

    mcopy: list[str]
    text: str

    def write(self, card: Card) -> None:
        """Raises DiskFaultError where the card does not keep it."""
        at = ["-i", f"{card.path}@@{BOOTFS.start}"]
        run([*self.mcopy, "-o", *at, "-", f"::{PRESEED_FILE}"], input=self.text, env=NO_CHECK)
        card.sync()
        card.forget()
        again = run([*self.mcopy, *at, f"::{PRESEED_FILE}", "-"], env=NO_CHECK).stdout
        if again != self.text:
            message = f"{card.path.name} does not keep {PRESEED_FILE}"
            raise DiskFaultError(message, hint="use another card")


def make_preseeder(preseed: Preseed, tools: Path) -> Preseeder:
    """With mtools of the tools tree or of the host. Raises MissingToolError."""
    try:
        mcopy = [*tool(tools, "mtools"), "-c", "mcopy"]
    except HearthError:
        if find_tool("mcopy") is None:
            message = "program 'mcopy', which writes hearth.toml to the card, is not installed"
            raise MissingToolError(message, hint="apt-get install mtools") from None
        mcopy = ["mcopy"]
    return Preseeder(mcopy, render_preseed(preseed))
