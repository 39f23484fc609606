"""A rented server out there: where a tunnel's other half runs, with a public address of its own.

It is as bare as a fresh one, but that the script finds its programs installed (there is no apt in
the box) and no systemd, which the script notices. The kernel in which the box runs may lack
WireGuard; wg-quick then takes wireguard-go, here as on such servers.
"""

from __future__ import annotations

from appliance.deadline import wait_until
from world.internet.host import Host
from world.internet.places import VPS, VPS_NAME
from world.internet.world import World

SSHD_PORT = 22
KEPT = ("wireguard/hearth.conf", "wireguard/hearth.nft", "sysctl.d/90-hearth.conf")
# Somebody answers on a machine that is switched on: its SSH port does, if only with a greeting.
SSHD = [
    "python3",
    "-c",
    """
import socket
listener = socket.create_server(("", 22))
while True:
    connection, _ = listener.accept()
    connection.sendall(b"SSH-2.0-vps\\r\\n")
    connection.close()
""",
]

# A terminal with an interactive bash, into which the text comes as fast as it takes it.
TERMINAL = """
import os, pty, select, sys
text = sys.stdin.read().encode()
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("bash", ["bash", "-i"])
while True:
    reads, writes, _ = select.select([terminal], [terminal] if text else [], [])
    if reads:
        try:
            shown = os.read(terminal, 65536)
        except OSError:  # the shell has ended
            break
        sys.stdout.buffer.write(shown)
    if writes:
        text = text[os.write(terminal, text[:256]):]
"""


class Vps:
    """Started in a world that runs, and gone with it."""

    address, name = VPS, VPS_NAME

    def __init__(self, world: World) -> None:
        self._world = world
        self.host = self._start()

    def _start(self) -> Host:
        host = self._world.add_server("vps", VPS)
        host.set_kernel(net__ipv4__ip_unprivileged_port_start=0)
        host.start("sshd", SSHD)
        host.wait_for_port("sshd", SSHD_PORT)
        return host

    def paste(self, script: str) -> str:
        """What its owner does, in a terminal. What that shows after the script's own text."""
        shown = self.host.run(["python3", "-c", TERMINAL], input=f"{script}exit\n").stdout
        return shown.rpartition("# sh /root/hearth-vps.sh\n")[2]

    def remove(self) -> str:
        result = self.host.run(["sh", "/root/hearth-vps.sh", "--remove"])
        return result.stdout + result.stderr

    def power_off(self) -> None:
        """Without a warning; its card keeps what the script has written."""
        kept = {name: (self.host.etc / name) for name in KEPT}
        self._kept = {name: file.read_text() for name, file in kept.items() if file.exists()}
        self._world.wan.host.run(["ip", "link", "delete", "vps"])
        self.host.close()
        self._world.hosts.pop("vps")

    def power_on(self) -> None:
        """Starts as systemd would: sysctl.d, then wg-quick@hearth."""
        self.host = self._start()
        for name, text in self._kept.items():
            file = self.host.etc / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        if "wireguard/hearth.conf" in self._kept:
            self.host.run(["sysctl", "-q", "-p", "/etc/sysctl.d/90-hearth.conf"])
            self.host.run(["wg-quick", "up", "hearth"])

    def wait_for_handshake(self, seconds: float = 30) -> None:
        def shaken() -> bool:
            argv = ["wg", "show", "hearth", "latest-handshakes"]
            words = self.host.run(argv, check=False).stdout.split()
            return bool(words) and words[-1] != "0"

        wait_until(shaken, seconds=seconds, what="a handshake with the rented server", every=0.1)
