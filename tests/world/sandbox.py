"""One appliance without a kernel of its own: the tree, our code, its own network and processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType

from appliance.deadline import wait_until
from appliance.layout import MIB
from appliance.slotstate import INITIAL, write_next
from world.tree import REPOSITORY

ADDRESS = "192.0.2.10"
ELSEWHERE = "198.51.100.7"  # a source address that is on no network of the appliance
ADDRESS6 = "2001:db8:1:2::10"
NEIGHBOUR6 = "2001:db8:1:2:a:b:c:d"
ELSEWHERE6 = "2001:db8:1:3::10"
HOST_NAME = "hearth-0a1b"
# What the initramfs would have left; the disk is a file with the two copies of the slot state.
BOOT_REPORT = r"slot=A\ndisk=/data/card.img\ndata=ok\ndata_detail=\nfirst_boot=0\n"
COMMAND_LINE = "rauc.slot=A quiet\n"
OVERLAY = REPOSITORY / "overlays" / "base"
CODE = {
    "appliance": "firstboot/appliance",
    "services": "firstboot/services",
    "firstboot": "firstboot/firstboot",
    "setup_ui": "setup-ui/setup_ui",
}


class Sandbox:
    """Namespaces that live until the end of the ``with``; ``run`` enters them.

    /data and /etc are under ``state``; a reboot is a new Sandbox with the same ``state``. With
    ``alone`` it has addresses and sources of its own on lo; otherwise it waits for a cable
    (world.internet.World.plug_in).
    """

    name = "hearth"

    def __init__(self, tree: Path, state: Path, *, alone: bool = True) -> None:
        self.tree = tree
        self.alone = alone
        self.state = state
        self.data = state / "data"
        self.etc = state / "etc"
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def __enter__(self) -> Sandbox:
        # /etc is an overlay in memory on the appliance: at every boot it is the slot's again.
        shutil.rmtree(self.etc, ignore_errors=True)
        self.etc.mkdir(parents=True)
        for source in (self.tree, OVERLAY):
            argv = ["cp", "--archive", "--remove-destination", f"{source}/etc/.", str(self.etc)]
            subprocess.run(argv, check=True)
        self.data.mkdir(exist_ok=True)
        self._make_card()
        read, write = os.pipe()
        self._process = subprocess.Popen(
            ["bwrap", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts",
             "--hostname", HOST_NAME, "--cap-add", "ALL", "--die-with-parent",
             "--ro-bind", str(self.tree), "/", "--proc", "/proc", "--dev", "/dev",
             "--dev-bind-try", "/dev/net/tun", "/dev/net/tun",
             "--tmpfs", "/run", "--tmpfs", "/tmp", *self._binds(),
             "--info-fd", str(write), "sh", "-c", "touch /run/ready; exec sleep infinity"],
            pass_fds=(write,),
        )  # fmt: skip
        os.close(write)
        with os.fdopen(read) as info:
            self._pid = int(json.load(info)["child-pid"])
        # bwrap tells the pid before it has put the root in place.
        ready = Path(f"/proc/{self._pid}/root/run/ready")
        wait_until(ready.exists, seconds=30, what="the sandbox's start", every=0.02)
        addresses = (
            # Not every development kernel has dummy devices; lo takes any address.
            f"ip address add {ADDRESS}/24 dev lo",
            f"ip address add {ELSEWHERE}/32 dev lo",
            f"ip address add {ADDRESS6}/64 dev lo nodad",
            f"ip address add {NEIGHBOUR6}/128 dev lo nodad",
            f"ip address add {ELSEWHERE6}/128 dev lo nodad",
        )
        for line in (*(addresses if self.alone else ()), "systemd-sysusers"):
            self.run(line.split())
        # Ambient capabilities are systemd's part; here any user may bind port 80.
        ports = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
        self.run(
            [
                "sh",
                "-c",
                f"echo 0 > {ports}; chmod 1777 /dev/shm; mkdir -p -m 755 /run/hearth /run/units",
            ]
        )
        self.run(["sh", "-c", f"printf '{BOOT_REPORT}' > /run/hearth/boot"])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def run(
        self, argv: list[str], *, check: bool = True, seconds: float = 300, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside as root and return its output."""
        inside = ["nsenter", "--target", str(self._pid), "--mount", "--net", "--pid", "--uts",
                  "--ipc", "--root", "--wdns=/"]  # fmt: skip
        result = subprocess.run(
            [*inside, *argv],
            capture_output=True,
            text=True,
            timeout=seconds,
            input=input,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONDONTWRITEBYTECODE": "1",
                 "HEARTH_START_SECONDS": "120"},
        )  # fmt: skip
        if check:
            assert result.returncode == 0, f"{argv}:\n{result.stdout}\n{result.stderr}"
        return result

    @property
    def pid(self) -> int:
        """The process that holds the namespaces."""
        return self._pid

    def batch_ip(self, lines: str) -> None:
        """Several ``ip`` commands, one a line."""
        self.run(["ip", "-batch", "-"], input=lines + "\n")

    def hearthctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(["python3", "-m", "firstboot", *arguments], check=check)

    def python(self, code: str) -> str:
        """Run a few lines with the appliance's own modules; what they print."""
        return self.run(["python3", "-c", code]).stdout

    def _make_card(self) -> None:
        card = self.data / "card.img"
        if not card.exists():
            with card.open("wb") as file:
                file.truncate(8 * MIB)
            write_next(card, INITIAL)
        (self.state / "cmdline").write_text(COMMAND_LINE)

    def _binds(self) -> list[str]:
        libraries = Path("/usr/lib/python3/dist-packages")
        pairs = [(REPOSITORY / source, libraries / name) for name, source in CODE.items()]
        pairs += [
            (OVERLAY / "usr/share/hearth", Path("/usr/share/hearth")),
            (OVERLAY / "usr/lib/systemd/system", Path("/usr/lib/systemd/system")),
            (OVERLAY / "usr/lib/sysusers.d", Path("/usr/lib/sysusers.d")),
            (Path(__file__).with_name("systemctl.sh"), Path("/usr/bin/systemctl")),
            (Path(__file__).with_name("systemctl.sh"), Path("/usr/bin/journalctl")),
            (Path(__file__).parent, Path("/scratch")),
        ]
        binds = [part for source, place in pairs for part in ("--ro-bind", str(source), str(place))]
        binds += ["--ro-bind", str(self.state / "cmdline"), "/proc/cmdline"]
        return [*binds, "--bind", str(self.etc), "/etc", "--bind", str(self.data), "/data"]
