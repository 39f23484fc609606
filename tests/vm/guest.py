"""The shipping image in QEMU and how tests reach it: pages, SSH, certificates."""

from __future__ import annotations

import shlex
import shutil
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.deadline import wait_until
from appliance.run import run
from imagebuild.context import Context
from imagebuild.emulate import find_boot_files, write_preseed
from imagebuild.sparse import copy_sparse
from imagebuild.vm import Machine, MachineOptions, make_card, tool

CLAIM_CODE = "HEARTHSTEAD7"
BOOT_SECONDS = 420  # a quiet machine needs 50; two busy cores are no reason to fail


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_directory(context: Context, name: str) -> Path:
    """build/vm-tests/``name``: serial log, journals and pictures of the last run stay there."""
    directory = context.build / "vm-tests" / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def make_key(directory: Path) -> Path:
    key = directory / "id_ed25519"
    if not key.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    return key


@dataclass
class Guest:
    """One appliance; ports are on 127.0.0.1 of this host."""

    context: Context
    directory: Path
    machine_type: str = "virt"
    memory_mb: int = 2048
    # Several machines run at once: with two each they wait for each other's locks, and take longer.
    cpus: int = 1
    extra: tuple[str, ...] = ()
    write_log: Path | None = None
    http: int = field(default_factory=free_port)
    https: int = field(default_factory=free_port)
    ssh_port: int = field(default_factory=free_port)
    machine: Machine | None = None
    image: Path = Path()

    @property
    def card(self) -> Path:
        return self.directory / "card.qcow2"

    @property
    def key(self) -> Path:
        return make_key(self.directory)

    def flash(self, preseed: str | None = None) -> None:
        """A new card with the image and, on bootfs, the key that switches SSH on."""
        self.directory.mkdir(parents=True, exist_ok=True)
        key = self.key.with_suffix(".pub").read_text().strip()
        text = preseed or f'claim_code = "{CLAIM_CODE}"\n'
        text += f'ssh_keys = ["{key}"]\n'
        tools = self.context.tools.resolve()
        self.image = write_preseed(tools, self.context.raw_image, self.directory, text)
        make_card(tools, self.image, self.card)

    def flash_over(self) -> None:
        """The same image once more onto the same card: its blocks, and no others."""
        tools = self.context.tools.resolve()
        whole = self.directory / "card.img"
        argv: list[str | Path] = ["convert", "-O", "raw", self.card, whole]
        run([*tool(tools, "qemu-img"), *argv])
        with whole.open("r+b") as card:
            copy_sparse(self.image, card.fileno(), 0)
        self.card.unlink()
        make_card(tools, whole, self.card)

    def switch_off(self) -> None:
        """As an owner should; what was written is on the card then."""
        self.ssh("systemctl", "poweroff", check=False)
        machine = self.machine
        assert machine is not None
        wait_until(lambda: not machine.is_running, seconds=BOOT_SECONDS, what="the power-off")

    def options(self) -> MachineOptions:
        return MachineOptions(
            machine=self.machine_type,
            memory_mb=self.memory_mb,
            cpus=self.cpus,
            forwards={self.http: 80, self.https: 443, self.ssh_port: 22},
            extra=self.extra,
            write_log=self.write_log,
        )

    def start(self, *, snapshot: str | None = None) -> None:
        options = replace(self.options(), load_snapshot=snapshot)
        boot = find_boot_files(self.context)
        tools = self.context.tools.resolve()
        self.machine = Machine(tools, self.card, self.directory, options, boot)
        self.machine.start()

    def stop(self) -> None:
        if self.machine is not None:
            self.machine.stop()

    @property
    def serial(self) -> str:
        assert self.machine is not None
        return self.machine.serial

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.http}{path}"

    def get(self, path: str, *, seconds: float = 60) -> tuple[int, bytes]:
        """Status and body of a page; raises OSError when nothing answers."""
        try:
            with urllib.request.urlopen(self.url(path), timeout=seconds) as reply:
                return int(reply.status), reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def wait_for_pages(self, *, seconds: float = BOOT_SECONDS, each: float = 10) -> None:
        """Until the wizard (or whatever page is due) answers; ``each`` is for one request."""

        def answers() -> bool:
            assert self.machine is not None
            self.machine.check_running()
            try:
                return self.get("/claim", seconds=each)[0] == 200
            except OSError:
                return False

        wait_until(answers, seconds=seconds, what="an answer of the setup pages", every=1)

    def way_in(self) -> list[str]:
        """The part of SSH's command line that says where to go."""
        return ["ssh", "-p", str(self.ssh_port), "root@127.0.0.1"]

    def ssh(self, *argv: str, check: bool = True, seconds: float = 300, input: bytes = b"") -> str:
        """Run a program inside as root; its standard output."""
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                   "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60", "-o", "BatchMode=yes",
                   "-i", str(self.key)]  # fmt: skip
        *way, host = self.way_in()
        result = subprocess.run(
            [*way, *options, host, shlex.join(argv)],
            capture_output=True, timeout=seconds, input=input,
        )  # fmt: skip
        said, complaint = (part.decode(errors="replace") for part in (result.stdout, result.stderr))
        if check and result.returncode != 0:
            raise AssertionError(f"{argv} failed inside:\n{said}\n{complaint}")
        return said

    def wait_for_ssh(self, *, seconds: float = BOOT_SECONDS) -> None:
        def answers() -> bool:
            try:
                return "here" in self.ssh("echo", "here", check=False, seconds=90)
            except subprocess.TimeoutExpired:
                return False

        wait_until(answers, seconds=seconds, what="SSH", every=2)

    def mdns_name(self) -> str:
        return self.ssh("hostname").strip() + ".local"

    def authority(self) -> Path:
        """The device's own certificate authority, downloaded as an owner would."""
        status, body = self.get("/hearth-authority.crt")
        assert status == 200
        path = self.directory / "authority.pem"
        text = body if body.startswith(b"-----") else ssl.DER_cert_to_PEM_cert(body).encode()
        path.write_bytes(text)
        return path

    def wait_for_homeserver(self, url: str, authority: Path, *, seconds: float = 900) -> None:
        """Until the client API answers over HTTPS with a certificate of the device's authority."""
        context = ssl.create_default_context(cafile=authority)

        def answers() -> bool:
            try:
                versions = f"{url}/_matrix/client/versions"
                with urllib.request.urlopen(versions, context=context, timeout=60) as reply:
                    return int(reply.status) == 200
            except OSError:
                return False

        wait_until(answers, seconds=seconds, what="an answer of the homeserver", every=2)

    def save_journal(self, name: str) -> None:
        """For a failed run: what systemd had to say."""
        try:
            journal = self.ssh("journalctl", "-b", "--no-pager", check=False, seconds=120)
        except (OSError, subprocess.TimeoutExpired):
            return
        (self.directory / f"journal-{name}.log").write_text(journal)

    def reboot(self) -> None:
        """Restart by systemd and wait for the pages of the next boot."""
        before = self.ssh("cat", "/proc/sys/kernel/random/boot_id")
        self.ssh("systemctl", "reboot", check=False)

        def is_new() -> bool:
            assert self.machine is not None
            self.machine.check_running()
            try:
                now = self.ssh("cat", "/proc/sys/kernel/random/boot_id", check=False, seconds=60)
            except subprocess.TimeoutExpired:
                return False
            return bool(now) and now != before

        wait_until(is_new, seconds=BOOT_SECONDS, what="the next boot", every=2)
        self.wait_for_pages()
