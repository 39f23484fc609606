"""RAUC's service, asked over D-Bus by busctl (RAUC manual, "D-Bus API"; checked with 1.13).

Polled and not listened to: an installation goes on in RAUC's own process, so whoever asks may come
later, or come again after it was killed. What tells that it succeeded is the slot's status, which
names the transaction and the bundle; an "idle" alone would also follow a crash.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import partial
from typing import Any

from appliance.errors import (
    CommandError,
    ConfigError,
    DiskFullError,
    HearthError,
    ImageError,
    NetworkError,
    SignatureError,
    StateError,
)
from appliance.release import ReleaseFacts, from_meta
from appliance.run import find_tool, missing_tool, run

NAME, OBJECT, INTERFACE = "de.pengutronix.rauc", "/", "de.pengutronix.rauc.Installer"
SECTION = "hearth"  # [meta.hearth] of the manifest
ASK_SECONDS = 60
INSPECT_SECONDS = 180  # a slow line, and RAUC tries five times
# The bus gives a service 25 s to start, and it goes on starting after that: a busy card is slower.
SLOW_START, TIMED_OUT, ATTEMPTS = "service_start_timeout", "Connection timed out", 5
INSTALLING, IDLE = "installing", "idle"
PREFIX = "Call failed: "


@dataclass(frozen=True)
class Cause:
    """``words``: part of what RAUC (src/signature.c, install.c, bundle.c) or OpenSSL says, in lower
    case; ``meaning``: what the owner is told of it.
    """

    words: str
    kind: type[HearthError]
    meaning: str
    hint: str


AGAIN = "get it from its publisher again"
# The first that fits counts.
CAUSES = (
    Cause("certificate revoked", SignatureError, "its publisher has revoked the bundle's key",
          "wait for a bundle that is signed anew"),
    Cause("signature size", ImageError, "the bundle is cut short, or is none", AGAIN),
    Cause("signature", SignatureError, "the bundle is not signed by the publisher", AGAIN),
    Cause("verify error", SignatureError, "the bundle is not signed by the publisher", AGAIN),
    Cause("compatible", ConfigError, "the bundle is for another kind of device",
          "updates for this one come by themselves"),
    Cause("no space left", DiskFullError, "there is no room for the update", "df -h /data"),
    Cause("verity", ImageError, "the bundle is damaged", AGAIN),
    Cause("squashfs", ImageError, "the bundle is damaged", AGAIN),
    Cause("input/output error", ImageError,
          "the bundle is damaged, the download broke off, or the card is worn out", AGAIN),
    Cause("nbd", NetworkError, "the server does not hand the bundle out",
          "it is tried again by itself"),
    Cause("http", NetworkError, "the server does not hand the bundle out",
          "it is tried again by itself"),
    Cause("opening bundle", ImageError, "the bundle cannot be read", "is the file there?"),
    Cause("bundle format", ImageError, "this is no bundle", "is it the right file?"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BundleInfo:
    """What a bundle's signed manifest says; ``manifest`` is its hash, the bundle's identity."""

    facts: ReleaseFacts
    manifest: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """``error`` is the last installation's, also while nothing is being installed."""

    is_installing: bool
    percent: int
    message: str
    error: str


@dataclass(frozen=True, kw_only=True)
class SlotRecord:
    """What RAUC wrote down about the content of a slot; empty where it never installed."""

    status: str = ""
    version: str = ""
    manifest: str = ""
    transaction: str = ""


class Rauc:
    """``address`` is another bus than the system's, for tests."""

    def __init__(self, address: str = "") -> None:
        self._bus = [f"--address={address}"] if address else ["--system"]

    def inspect(self, source: str) -> BundleInfo:
        """Verify the signature of a bundle's manifest and read it. Raises HearthError."""
        argv = ["InspectBundle", "sa{sv}", source, "0"]
        info = _plain(self._call(argv, seconds=INSPECT_SECONDS)[0])
        try:
            update, meta = info["update"], info.get("meta", {})
            facts = from_meta(meta[SECTION])
            said = (str(update["version"]), str(update["compatible"]))
            manifest = str(info["manifest-hash"])
        except (KeyError, TypeError, AttributeError) as error:
            message = f"the bundle says nothing of {error}"
            raise ConfigError(message, hint="it was not made by `hearth bundle`") from error
        if said != (facts.version, facts.compatible):
            message = f"the bundle contradicts itself: {said} and {facts.version, facts.compatible}"
            raise ConfigError(message, hint="it was not made by `hearth bundle`")
        return BundleInfo(facts=facts, manifest=manifest)

    def install(self, source: str, transaction: str) -> None:
        """Begin to write the other slot; returns at once."""
        argv = ["InstallBundle", "sa{sv}", source, "1", "transaction-id", "s", transaction]
        # What was heard, and only not answered in time, is not said twice.
        self._ask("call", argv, ASK_SECONDS, again=(SLOW_START,))

    def look(self) -> Progress:
        names = ("Operation", "Progress", "LastError")
        operation, progress, error = self._ask("get-property", names, ASK_SECONDS)
        percent, message, _depth = progress["data"]
        return Progress(
            is_installing=operation["data"] == INSTALLING,
            percent=min(max(int(percent), 0), 100),
            message=str(message),
            error=str(error["data"]),
        )

    def slot(self, bootname: str) -> SlotRecord:
        """What the slot with this boot name holds, as RAUC wrote down. Raises StateError."""
        for _, status in self._call(["GetSlotStatus"])[0]:
            said = {name: _plain(value) for name, value in status.items()}
            if said.get("bootname") == bootname:
                return SlotRecord(
                    status=str(said.get("status", "")),
                    version=str(said.get("bundle.version", "")),
                    manifest=str(said.get("bundle.hash", "")),
                    transaction=str(said.get("installed.transaction", "")),
                )
        message = f"RAUC knows no slot {bootname}"
        raise StateError(message, hint="look at: journalctl -u rauc")

    def _call(self, argv: list[str], *, seconds: int = ASK_SECONDS) -> Any:
        [answer] = self._ask("call", argv, seconds)
        return answer["data"] if answer else None

    def _ask(
        self,
        verb: str,
        argv: list[str] | tuple[str, ...],
        seconds: int,
        *,
        again: tuple[str, ...] = (SLOW_START, TIMED_OUT),
    ) -> list[Any]:
        """The answers, one JSON text a line; a call without an answer has one that is None."""
        if find_tool("busctl") is None:
            raise missing_tool("busctl")
        command = ["busctl", *self._bus, "--json=short", f"--timeout={seconds}", verb, NAME, OBJECT]
        ask = partial(run, [*command, INTERFACE, *argv], check=False, timeout=seconds + ASK_SECONDS)
        attempts, result = 1, ask()
        while any(words in result.stderr for words in again) and attempts < ATTEMPTS:
            attempts, result = attempts + 1, ask()
        if result.returncode != 0:
            raise explain(result.stderr)
        try:
            answers = [json.loads(line) for line in result.stdout.splitlines()]
        except ValueError as error:
            raise CommandError(f"busctl said {result.stdout[:80]!r}") from error
        return answers or [None]


def explain(text: str) -> HearthError:
    """What RAUC said, as an error of the kind that it is."""
    said = " ".join(text.strip().removeprefix(PREFIX).split()) or "no reason was given"
    lower = said.lower()
    for cause in CAUSES:
        if cause.words in lower:
            return cause.kind(f"{cause.meaning} (RAUC: {said})", hint=cause.hint)
    return CommandError(f"RAUC: {said}", hint="look at: journalctl -u rauc")


def is_url(source: str | os.PathLike[str]) -> bool:
    return os.fspath(source).startswith(("http://", "https://"))


def _plain(value: Any) -> Any:
    """busctl's JSON without the type beside each variant."""
    if isinstance(value, dict):
        if value.keys() == {"type", "data"}:
            return _plain(value["data"])
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
