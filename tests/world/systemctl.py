"""systemctl and journalctl for a place without systemd: runs the real unit files' commands.

Bound over both programs inside the sandbox (sandbox.py), so the appliance's code runs unchanged.
Understood: conditions, assertions, Wants, Requires, Type=oneshot/notify/forking/exec, ExecStart,
ExecReload, User, Environment, RuntimeDirectory, KillSignal, and a socket unit of the same name. No
sandboxing, no restarts: those are systemd's, and are tested in the VM.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

UNIT_PATHS = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"))
RUN = Path("/run/units")
START_SECONDS = 60
SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"  # systemd.exec(5), PATH
JOBS: list[object] = []  # open lock files; they are released when this process ends


class Unit:
    def __init__(self, name: str) -> None:
        self.name = name if "." in name else f"{name}.service"
        self.values: dict[str, list[str]] = {}
        file = next(path / self.name for path in UNIT_PATHS if (path / self.name).exists())
        for line in file.read_text().splitlines():
            key, mark, value = line.partition("=")
            if mark and not line.startswith(("#", ";")):
                self.values.setdefault(key, []).append(value)
        self.record = RUN / f"{self.name}.json"
        self.log = RUN / f"{self.name}.log"

    def get(self, key: str, default: str = "") -> str:
        return self.values.get(key, [default])[-1]

    def state(self) -> dict[str, object]:
        return json.loads(self.record.read_text()) if self.record.exists() else {}

    def save(self, **state: object) -> None:
        self.record.write_text(json.dumps(state))

    def pid(self) -> int:
        pid = int(str(self.state().get("pid", 0)))
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OSError):
            return 0
        return pid if pid else 0

    def is_active(self) -> bool:
        return bool(self.pid()) or bool(self.state().get("finished"))

    def is_failed(self) -> bool:
        state = self.state()
        return bool(state.get("failed")) or (bool(state.get("pid")) and not self.pid())

    # ---- verbs

    def start(self, *, wait: bool) -> None:
        if self.is_active():
            return
        for wanted in " ".join(self.values.get("Wants", [])).split():
            if wanted.endswith(".service"):
                subprocess.run(["systemctl", "start", wanted], check=False)
        if not self._may_start():
            return
        for required in " ".join(self.values.get("Requires", [])).split():
            if required.endswith(".service"):
                argv = ["systemctl", "start", required]
                if subprocess.run(argv, check=False).returncode:
                    sys.exit(f"Dependency failed for {self.name}.")
        self._runtime_directory()
        kind = self.get("Type", "simple")
        if kind == "oneshot" and not wait:
            argv = ["systemctl", "start", self.name]
            nowhere = subprocess.DEVNULL
            subprocess.Popen(argv, start_new_session=True, stdout=nowhere, stderr=nowhere)
        elif kind in ("oneshot", "forking"):
            self._run_to_end(kind)
        else:
            self._spawn(notify=kind == "notify" and wait)

    def _may_start(self) -> bool:
        for kind, test in (("PathExists", Path.exists), ("PathIsDirectory", Path.is_dir)):
            for path in self.values.get(f"Condition{kind}", []):
                # systemd.unit(5): an exclamation mark turns the condition round.
                if test(Path(path.removeprefix("!"))) == path.startswith("!"):
                    return False
        if not all(Path(path).exists() for path in self.values.get("AssertPathExists", [])):
            sys.exit(f"Assertion failed on job for {self.name}.")
        for command in self.values.get("ExecCondition", []):
            if subprocess.run(shlex.split(command), check=False).returncode:
                return False
        # What is about the card and the kernel is not in the sandbox.
        if not self.get("ExecStart"):
            return False  # a target: what it wants is systemd's to start, and tests do by hand
        return Path(shlex.split(self.get("ExecStart"))[0]).exists()

    def stop(self) -> None:
        pid = self.pid()
        if pid:
            os.kill(pid, getattr(signal, self.get("KillSignal", "SIGTERM")))
            deadline = time.monotonic() + 30
            while self.pid():
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.05)
        self.record.unlink(missing_ok=True)

    def reload(self) -> None:
        for command in self.values["ExecReload"]:
            argv = shlex.split(command.replace("$MAINPID", str(self.pid())))
            result = subprocess.run(argv, check=False, **self._as_user())
            if result.returncode:
                sys.exit(f"Job for {self.name} failed.")

    # ---- how

    def _as_user(self) -> dict[str, object]:
        user = self.get("User", "root")
        environment = {"PATH": SEARCHED, "LC_ALL": "C.UTF-8"}
        for line in self.values.get("Environment", []):
            environment.update(item.split("=", 1) for item in shlex.split(line))
        for file in self.values.get("EnvironmentFile", []):
            lines = Path(file).read_text().splitlines()
            environment.update(one.split("=", 1) for one in lines if one[:1] not in ("", "#"))
        options: dict[str, object] = {"env": environment, "umask": int(self.get("UMask", "022"), 8)}
        if user != "root":
            options |= {"user": user, "group": user, "extra_groups": []}
        return options

    def _runtime_directory(self) -> None:
        name = self.get("RuntimeDirectory")
        if name:
            path = Path("/run") / name
            path.mkdir(exist_ok=True)
            path.chmod(int(self.get("RuntimeDirectoryMode", "0755"), 8))
            shutil.chown(path, self.get("User", "root"), self.get("User", "root"))

    def _run_to_end(self, kind: str) -> None:
        for command in self.values["ExecStart"]:
            with self.log.open("a") as log:
                result = subprocess.run(
                    shlex.split(command), stdout=log, stderr=log, check=False, **self._as_user()
                )
            if result.returncode:
                self.save(failed=True)
                sys.exit(
                    f"Job for {self.name} failed; see the log:\n{self.log.read_text()[-2000:]}"
                )
        if kind == "forking":
            self.save(pid=int(Path(self.get("PIDFile")).read_text()))
        elif self.get("RemainAfterExit") == "yes":
            self.save(finished=True)

    def _spawn(self, *, notify: bool) -> None:
        options = self._as_user()
        environment = dict(options.pop("env"))
        passed = self._listening_socket(environment)  # first: it takes descriptor 3
        news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = RUN / f"{self.name}.notify"
        address.unlink(missing_ok=True)
        news.bind(str(address))
        address.chmod(0o777)
        news.settimeout(0.2)
        environment["NOTIFY_SOCKET"] = str(address)
        argv = shlex.split(self.get("ExecStart"))
        if passed:
            # LISTEN_PID is the pid of the program itself, which only its own shell knows.
            argv = ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *argv]
        with self.log.open("a") as log:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.get("WorkingDirectory", "/"),
                start_new_session=True,
                close_fds=not passed,
                **options,
            )
        self.save(pid=process.pid)
        deadline = time.monotonic() + START_SECONDS
        while notify:
            try:
                if b"READY=1" in news.recv(4096):
                    return
            except TimeoutError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                self.save(failed=True)
                sys.exit(
                    f"Job for {self.name} failed; see the log:\n{self.log.read_text()[-2000:]}"
                )

    def _listening_socket(self, environment: dict[str, str]) -> bool:
        partner = self.name.replace(".service", ".socket")
        if not any((path / partner).exists() for path in UNIT_PATHS):
            return False
        unit = Unit(partner)
        path = Path(unit.get("ListenStream"))
        path.parent.mkdir(mode=0o755, exist_ok=True)
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        path.chmod(int(unit.get("SocketMode", "0666"), 8))
        shutil.chown(path, unit.get("SocketUser", "root"), unit.get("SocketGroup", "root"))
        listener.listen(64)
        descriptor = listener.detach()
        if descriptor != 3:
            os.dup2(descriptor, 3)
        os.set_inheritable(3, True)
        environment |= {"LISTEN_FDS": "1"}
        return True


def main(argv: list[str]) -> int:
    RUN.mkdir(exist_ok=True)
    words = [word for word in argv if not word.startswith("-")]
    if os.environ["SYSTEMCTL_AS"] == "journalctl":
        log = Unit(words[0]).log
        sys.stdout.write("\n".join(log.read_text().splitlines()[-12:]) if log.exists() else "")
        return 0
    if words[0] == "list-units":
        for record in sorted(RUN.glob("*.json")):
            if Unit(record.stem).is_failed():
                print(f"{record.stem} loaded failed failed")
        return 0
    if words[0] == "set-property":
        # Kept for the tests to look at; a cgroup of its own is systemd's to make.
        file = RUN / f"{words[1]}.properties"
        before = file.read_text() if file.exists() else ""
        file.write_text(before + "".join(f"{one}\n" for one in words[2:]))
        return 0
    codes = [act(words[0], Unit(name), wait="--no-block" not in argv) for name in words[1:]]
    return max(codes)


def act(verb: str, unit: Unit, *, wait: bool) -> int:
    if verb in ("start", "stop", "restart"):
        # One job at a time for a unit, as with systemd.
        job = (RUN / f"{unit.name}.lock").open("w")
        fcntl.flock(job, fcntl.LOCK_EX)
        os.set_inheritable(job.fileno(), False)
        JOBS.append(job)
    match verb:
        case "start":
            unit.start(wait=wait)
        case "stop":
            unit.stop()
        case "restart":
            unit.stop()
            unit.start(wait=True)
        case "reload":
            unit.reload()
        case "reset-failed":
            if unit.is_failed():
                unit.record.unlink()
        case "is-active":
            return 0 if unit.is_active() else 3
        case "is-failed":
            return 0 if unit.is_failed() else 1
        case _:
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
