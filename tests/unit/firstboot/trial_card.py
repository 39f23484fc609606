"""An appliance in a directory, its card a real file with both copies of the slot state."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.paths import Paths
from appliance.slotstate import INITIAL, SlotState, newest, read_copies, write_next
from appliance.update import Baseline, Stage, UpdateState
from services import slots
from services.update.state import save_update

STATE = UpdateState(
    stage=Stage.TRIAL,
    version="0.3.0",
    slot="B",
    from_version="0.2.0",
    from_slot="A",
    since=1000.0,
    baseline=Baseline(passed={"homeserver": True, "router": False}),
)


class TrialCard:
    """Version 0.2.0 in slot A, which is committed; 0.3.0 was installed into slot B."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root)
        self.disk = root / "card"
        self.disk.write_bytes(bytes(6 * 1024 * 1024))
        write_next(self.disk, INITIAL)
        write_next(self.disk, INITIAL)
        for path in (self.paths.hearth, self.paths.system, self.paths.runtime):
            path.mkdir(parents=True)
        self.paths.boot_report.write_text(f"slot=A\ndisk={self.disk}\ndata=ok\nrescue=0\n")
        self.starts = 0
        self._run("A")

    def boot(self) -> str:
        """As boot.scr: the first slot of the order with attempts loses one and is started."""
        state = self.state
        slot = next((name for name in state.order if state.left.get(name, 0) > 0), "")
        if slot:
            left = {**state.left, slot: state.left[slot] - 1}
            write_next(self.disk, replace(state, left=left))
        self._run(slot or state.committed or "A")
        return slot or "rescue"

    def boot_from_defaults(self) -> None:
        """As boot.scr where neither copy is valid."""
        left = {"A": 2, "B": 3}
        write_next(self.disk, SlotState(seq=0, order=("A", "B"), left=left, committed=""))
        self._run("A")

    def _run(self, slot: str) -> None:
        self.starts += 1
        random = self.paths.root / "proc/sys/kernel/random"
        random.mkdir(parents=True, exist_ok=True)
        (random / "boot_id").write_text(f"b{self.starts}\n")
        (self.paths.root / "proc/cmdline").write_text(f"ro rauc.slot={slot} quiet\n")

    def mark(self, stage: str) -> None:
        """As the initramfs and the early unit."""
        slot = slots.booted_slot(self.paths)
        with (self.paths.system / "boots").open("a") as file:
            file.write(f"slot={slot} boot=b{self.starts} stage={stage}\n")

    @property
    def state(self) -> SlotState:
        found = newest(read_copies(self.disk))
        assert found is not None
        return found

    def begin_trial(self) -> None:
        """As the update does before it restarts."""
        save_update(self.paths, STATE)
        slots.try_next(self.paths, "B")
        self.mark("trial")


class Cut(BaseException):
    """The power."""


def cut_at(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ``count``-th durable write of what follows is not made, nor anything after it."""
    left = iter(range(count))

    def guarded(act: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **keywords: object) -> object:
            if next(left, None) is None:
                raise Cut
            return act(*args, **keywords)

        return call

    monkeypatch.setattr(os, "replace", guarded(os.replace))
    monkeypatch.setattr(os, "pwrite", guarded(os.pwrite))
    monkeypatch.setattr(Path, "rename", guarded(Path.rename))
    monkeypatch.setattr(os, "unlink", guarded(os.unlink))
