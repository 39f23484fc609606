"""boot.cmd itself, run by sh with U-Boot's few commands as functions; and a fast twin of it.

U-Boot's shell (hush) and sh agree on what boot.cmd uses. ``run_script`` is slow (a few processes
each), so thousands of cuts are judged by ``boot``, which a test holds against the script.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.layout import STATE_OFFSETS
from appliance.slotstate import NAMES, SlotState, newest, read_copies, render_state

SCRIPT = Path(__file__).parents[3] / "image/boot/boot.cmd"
# Without the virtual environment, whose start takes longer than the answer.
HELPER = f"{sys.base_prefix}/bin/python3 -I -S {Path(__file__).with_name('bootenv.py')}"
UBOOT = r"""
setenv() { name=$1; shift; eval "$name=\$*"; }
number() { word=${1#0x}; echo $((0x${word:-0})); }
setexpr() { eval "$1=$(printf %x $(($(number "$2") $3 $(number "$4"))))"; }
test() {
    if [ "$2" = -gt ]; then [ "$(number "$1")" -gt "$(number "$3")" ]; else [ "$@" ]; fi
}
run() { eval "eval \"\$$1\""; }
virtio() {
    case $1 in
        read) dd if="$CARD" of="$MEMORY/${2#0x}" bs=512 skip=$(($3)) count=$(($4)) 2>/dev/null ;;
        write) dd if="$MEMORY/${2#0x}" of="$CARD" bs=512 seek=$(($3)) count=$(($4)) \
            conv=notrunc 2>/dev/null ;;
    esac
}
env() {
    case $1 in
        import) shift 2; file=$MEMORY/${1#0x}; shift 2
            found=$($HELPER import "$file" "$@") && eval "$found" ;;
        export) shift 4; file=$MEMORY/${1#0x}; shift; values=
            for one in "$@"; do eval "values=\"\$values\$one=\$$one|\""; done
            $HELPER export "$file" "$values" ;;
    esac
}
load() { echo "slot=$hearth_slot rescue=$hearth_rescue part=$hearth_part from=$2"; exit 0; }
devtype=virtio devnum=0 kernel_addr_r=0x40400000 pxefile_addr_r=0x40300000
"""


@dataclass(frozen=True)
class Booted:
    slot: str
    rescue: bool


def run_script(card: Path, work: Path) -> Booted:
    """What boot.scr would start from this card, with what it writes there."""
    work.mkdir(exist_ok=True)
    variables = {"CARD": card, "MEMORY": work, "HELPER": HELPER}
    script = UBOOT + SCRIPT.read_text()
    result = subprocess.run(
        ["sh", "-c", script],
        env={name: str(value) for name, value in variables.items()} | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    words = dict(word.split("=") for word in result.stdout.splitlines()[-1].split())
    assert words["from"] == f"0:{words['part']}"
    assert words["part"] == ("3" if words["slot"] == "B" else "2")
    return Booted(words["slot"], words["rescue"] == "1")


def boot(card: Path) -> Booted:
    """The same decision, and the same write."""
    copies = read_copies(card)
    state = newest(copies)
    if state is None:
        state = SlotState(seq=0, order=NAMES, left={"A": 3, "B": 3})
    slot = next((name for name in state.order if state.left[name] > 0), "")
    if not slot:
        return Booted("B" if state.committed == "B" else "A", True)
    left = {**state.left, slot: state.left[slot] - 1}
    index = 1 if copies[0] is not None and copies[0] == state else 0
    with card.open("r+b") as file:
        file.seek(STATE_OFFSETS[index])
        file.write(render_state(replace(state, seq=state.seq + 1, left=left)))
    return Booted(slot, False)
