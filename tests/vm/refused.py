"""What an appliance must not take: an update server at its worst, and bundles that are wrong."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.layout import MIB, SLOT_A
from imagebuild.bundle import SlotImage, make_bundle, read_slot
from imagebuild.context import Context
from vm.releases import Workshop
from vm.updateserver import UpdateServer

# Lines of nginx.conf, and what the owner must be told.
ANSWERS = {
    "nonsense": ('location / { return 200 "<h1>Sign in to the hotel</h1>"; }', "signed"),
    "404": ("location / { return 404; }", "404"),
    "redirect": ("location / { return 302 http://192.0.2.1:9$uri; }", "192.0.2.1"),
    "stranger": ("location / { root STRANGER; }", "signed"),
}
EVERY = 64 * 1024  # bytes; RAUC reads from every part of a bundle at least that often


def make_stranger(workshop: Workshop) -> Workshop:
    """Somebody else with the same tools: another root, another key, the same address."""
    other = Workshop(workshop.directory / "stranger", workshop.url)
    other.directory.mkdir()
    other.open()
    return other


@contextmanager
def half_an_answer(server: UpdateServer) -> Iterator[None]:
    """In the place of the server, one that promises 100 kB, sends 20 bytes and hangs up."""
    server.stop()
    with socket.create_server(("127.0.0.1", server.port)) as listening:
        thread = threading.Thread(target=_hang_up, args=(listening,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(20)
    server.start()


def _hang_up(listening: socket.socket) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"." * 20)


@dataclass(frozen=True)
class Kitchen:
    """Spoils the bundle of ``context``: each method writes to ``target``."""

    workshop: Workshop
    stranger: Workshop
    context: Context
    good: Path

    def truncated(self, target: Path) -> None:
        whole = self.good.read_bytes()
        target.write_bytes(whole[: len(whole) * 6 // 10])

    def tampered(self, target: Path) -> None:
        """One bit in every part of the content; the signature and the tree of hashes are whole."""
        content = bytearray(self.good.read_bytes())
        signature = int.from_bytes(content[-8:], "big")
        for at in range(EVERY, len(content) - signature - 4 * MIB, EVERY):
            content[at] ^= 1
        target.write_bytes(content)

    def strangers(self, target: Path) -> None:
        self._make(target, self.stranger)

    def older(self, target: Path) -> None:
        self._make(target, self.workshop, version="0.9.0")

    def another_board(self, target: Path) -> None:
        self._make(target, self.workshop, compatible="hearth-riscv64")

    def _make(self, target: Path, workshop: Workshop, **facts: str) -> None:
        """Rightly made, with a slot that is never looked at."""
        slot = read_slot(self.context, self.context.raw_image)
        image = self.workshop.directory / "noise.img"
        with image.open("wb") as file:
            file.seek(SLOT_A.start)
            file.write(random.Random(1).randbytes(MIB))
        small = SlotImage(
            image=image, size=MIB, facts=replace(slot.facts, **facts), is_development=False
        )
        made = target.with_name("made.raucb")
        make_bundle(self.context, small, workshop.signing, "", made, level=1)
        made.replace(target)


# What the owner must be told.
BUNDLES: dict[str, tuple[Callable[[Kitchen, Path], None], str]] = {
    "truncated": (Kitchen.truncated, "cut short"),
    "tampered": (Kitchen.tampered, "damaged"),
    "stranger": (Kitchen.strangers, "signed"),
    "older": (Kitchen.older, "0.9.0"),
    "another board": (Kitchen.another_board, "hearth-riscv64"),
}
