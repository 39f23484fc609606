"""One machine in the Internet in a box: namespaces of its own, which die with this process.

bubblewrap makes them and its first process holds them. When that process ends, by ``close`` or
because the test run was killed, the kernel ends every program inside (the first process of a pid
namespace takes the others with it) and removes the network devices: nothing can be left behind.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from appliance.deadline import wait_until
from appliance.errors import CommandError
from world.tree import REPOSITORY

START_SECONDS = 20.0
STOP_SECONDS = 5.0
LITTLE = struct.Struct("=I")  # /proc/net writes IPv4 addresses in the host's byte order
LISTEN = {"tcp": "0A", "udp": "07"}  # states in /proc/net, include/net/tcp_states.h
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "PYTHONPATH": "/opt/tests:/opt/firstboot",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}


class Host:
    """/etc and /srv are its own and writable (``etc``, ``files``); the rest is the shared tree."""

    def __init__(self, name: str, tree: Path, state: Path) -> None:
        self.name = name
        self.tree = tree
        self.files = state / name / "files"
        self.etc = state / name / "etc"
        self.logs = state / name / "logs"
        self.pid = 0
        self._holder: subprocess.Popen[bytes] | None = None
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Host:
        shutil.rmtree(self.etc, ignore_errors=True)
        shutil.copytree(self.tree / "etc", self.etc, symlinks=True)
        for path in (self.files, self.logs):
            path.mkdir(parents=True, exist_ok=True)
        (self.etc / "hostname").write_text(f"{self.name}\n")
        (self.etc / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        read, write = os.pipe()
        argv = ["bwrap", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts",
                "--hostname", self.name, "--cap-add", "ALL", "--die-with-parent",
                *self._mounts(), "--info-fd", str(write),
                "sh", "-c", "touch /run/ready; exec sleep infinity"]  # fmt: skip
        self._holder = subprocess.Popen(argv, pass_fds=(write,), stdin=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as info:
            text = info.read()
        if not text:
            self.close()
            raise CommandError(f"bubblewrap could not make the namespaces of {self.name!r}")
        self.pid = int(json.loads(text)["child-pid"])
        # bwrap tells the pid before it has put the root in place.
        ready = Path(f"/proc/{self.pid}/root/run/ready")
        wait_until(
            ready.exists, seconds=START_SECONDS, what=f"the start of {self.name}", every=0.01
        )
        self.batch_ip("link set lo up")
        return self

    def _mounts(self) -> list[str]:
        mounts = ["--ro-bind", str(self.tree), "/", "--proc", "/proc", "--dev", "/dev"]
        if Path("/dev/net/tun").exists():
            mounts += ["--dev-bind", "/dev/net/tun", "/dev/net/tun"]
        for place in ("/run", "/tmp", "/var", "/opt", "/root"):
            mounts += ["--tmpfs", place]
        mounts += [
            "--symlink",
            "/run",
            "/var/run",
            "--dir",
            "/run/named",
            "--dir",
            "/var/cache/bind",
            "--dir",
            "/var/lib/misc",
        ]
        mounts += ["--ro-bind", str(REPOSITORY / "tests"), "/opt/tests"]
        mounts += ["--ro-bind", str(REPOSITORY / "firstboot"), "/opt/firstboot"]
        return [*mounts, "--bind", str(self.etc), "/etc", "--bind", str(self.files), "/srv"]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it and everything in it; returns when that is so."""
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait()
            self._wait_for_end()
        for daemon in self._daemons.values():
            daemon.wait()
        self._daemons.clear()
        self._holder = None

    def _wait_for_end(self) -> None:
        """bwrap's own end is not yet that of the first process inside, which ends with it."""
        if not self.pid:
            return
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        ended, _, _ = select.select([handle], [], [], STOP_SECONDS)
        os.close(handle)
        if not ended:
            raise CommandError(f"{self.name}: process {self.pid} does not end")

    # ---- programs

    def enter(self, *, terminal: bool = False) -> list[str]:
        """The argv in front of a command that is to run here."""
        inside = ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--uts", "--ipc",
                  "--root", "--wdns=/"]  # fmt: skip
        if terminal:
            inside += ["env", *(f"{name}={value}" for name, value in ENVIRONMENT.items())]
        return inside

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        seconds: float = 60,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, as root."""
        result = subprocess.run(
            [*self.enter(), *argv], capture_output=True, text=True, timeout=seconds, input=input,
            check=False, env=ENVIRONMENT,
        )  # fmt: skip
        if check and result.returncode != 0:
            words = " ".join(argv)
            message = f"{self.name}: {words}: {result.returncode}\n{result.stdout}{result.stderr}"
            raise CommandError(message)
        return result

    def python(self, code: str, *, seconds: float = 60) -> str:
        """Run a few lines with the device's modules in reach; what they print."""
        return self.run(["python3", "-c", code], seconds=seconds).stdout.strip()

    def batch_ip(self, lines: str) -> None:
        """Several ``ip`` commands, one a line."""
        self.run(["ip", "-batch", "-"], input=lines + "\n")

    def set_kernel(self, **values: object) -> None:
        """net__ipv4__ip_forward=1 and the like; a double underscore is a slash."""
        lines = [f"echo {v} > /proc/sys/{k.replace('__', '/')}" for k, v in values.items()]
        self.run(["sh", "-ec", "\n".join(lines)])

    def start(self, name: str, argv: Sequence[str]) -> None:
        """Start a daemon that stays in the foreground; its output goes to ``logs``."""
        with (self.logs / f"{name}.log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                [*self.enter(), *argv],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT,
            )  # fmt: skip

    def stop(self, name: str) -> None:
        """End one daemon, politely first; nothing happens when it is not there."""
        self.signal(name, signal.SIGTERM)
        if daemon := self._daemons.pop(name, None):
            try:
                daemon.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._daemons[name] = daemon
                self.signal(name, signal.SIGKILL)
                self._daemons.pop(name).wait()

    def signal(self, name: str, number: signal.Signals) -> None:
        """nsenter itself passes no signals on: send it to the program behind it."""
        daemon = self._daemons.get(name)
        if daemon is None or daemon.poll() is not None:
            return
        for child in children_of(daemon.pid):
            os.kill(child, number)

    def pid_of(self, name: str) -> int:
        """The pid, outside of here, of the program behind a daemon's nsenter."""
        [child] = children_of(self._daemons[name].pid)
        return child

    def daemons(self) -> dict[str, bool]:
        """Names of the daemons, and whether each still runs."""
        return {name: daemon.poll() is None for name, daemon in self._daemons.items()}

    def log(self, name: str) -> str:
        path = self.logs / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def wait_for(
        self,
        name: str,
        condition: Callable[[], object],
        what: str,
        *,
        seconds: float = START_SECONDS,
    ) -> None:
        """Until ``condition`` holds; says at once, with its log, when daemon ``name`` has died."""

        def settled() -> bool:
            return bool(condition()) or self._daemons[name].poll() is not None

        wait_until(settled, seconds=seconds, what=f"{self.name}: {what}", every=0.02)
        if not condition():
            raise CommandError(f"{self.name}: {name} ended:\n{self.log(name)[-3000:]}")

    def wait_for_port(
        self,
        name: str,
        port: int,
        protocol: str = "tcp",
        *,
        address: str | None = None,
        seconds: float = START_SECONDS,
    ) -> None:
        def listens() -> bool:
            return self.listens(port, protocol, address=address)

        self.wait_for(name, listens, f"{name} on {protocol} {port}", seconds=seconds)

    def listens(self, port: int, protocol: str = "tcp", *, address: str | None = None) -> bool:
        """Whether a socket here waits on the port, by the kernel's own table."""
        wanted = "" if address is None else f"{LITTLE.unpack(socket.inet_aton(address))[0]:08X}"
        for table in (protocol, f"{protocol}6"):
            for line in Path(f"/proc/{self.pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                place, _, number = fields[1].rpartition(":")
                found = fields[3], int(number, 16), place if wanted else ""
                if found == (LISTEN[protocol], port, wanted):
                    return True
        return False


def children_of(pid: int) -> list[int]:
    """Of its first thread; nsenter has no others."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def connect(one: tuple[Host, str], other: tuple[Host, str]) -> None:
    """A cable between two hosts: a pair of devices with the given names, both up."""
    (host, device), (peer, peer_device) = one, other
    # In the network namespace only, so that ``netns`` takes the pid that we know.
    argv = ["nsenter", f"--target={host.pid}", "--net", "ip", "link", "add", device, "type", "veth",
            "peer", "name", peer_device, "netns", str(peer.pid)]  # fmt: skip
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise CommandError(f"{host.name}-{peer.name}: {result.stderr}")
    host.batch_ip(f"link set {device} up")
    peer.batch_ip(f"link set {peer_device} up")
