"""systemd units: started, stopped and asked about; tests of the whole stack bring their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from appliance.run import run

# systemctl itself answers at once; what it waits for is the unit's own start, which has a limit.
ASK_SECONDS = 60
ACT_SECONDS = 1200
LOG_LINES = 12
START = "multi-user.target"  # what a start leads to (systemd.special(7))


class Units(Protocol):
    """The few things that applying and provisioning want of a service manager."""

    def start(self, unit: str, *, wait: bool = True) -> None:
        """Start; with ``wait`` until the unit says that it has started. Raises HearthError."""
        ...

    def stop(self, unit: str) -> None: ...

    def restart(self, unit: str) -> None: ...

    def reload(self, unit: str) -> None: ...

    def set_properties(self, unit: str, properties: Sequence[str]) -> None:
        """Change limits of the unit as it stands, until the next start of the machine."""
        ...

    def is_active(self, unit: str) -> bool: ...

    def is_failed(self, unit: str) -> bool: ...

    def restarts(self, unit: str) -> int:
        """How often systemd has started it again by itself since somebody asked for its start."""
        ...

    def failed(self) -> tuple[str, ...]:
        """All units that have failed."""
        ...

    def log_tail(self, unit: str) -> str:
        """The last lines that the unit wrote, for error messages."""
        ...


class SystemdUnits:
    """The real ones, through systemctl(1) and journalctl(1)."""

    def start(self, unit: str, *, wait: bool = True) -> None:
        # A unit that has failed too often must not be refused now that its cause may be gone.
        run(["systemctl", "reset-failed", unit], check=False, timeout=ASK_SECONDS)
        run(["systemctl", "start", *([] if wait else ["--no-block"]), unit], timeout=ACT_SECONDS)

    def stop(self, unit: str) -> None:
        run(["systemctl", "stop", unit], timeout=ACT_SECONDS)

    def restart(self, unit: str) -> None:
        run(["systemctl", "restart", unit], timeout=ACT_SECONDS)

    def reload(self, unit: str) -> None:
        run(["systemctl", "reload", unit], timeout=ACT_SECONDS)

    def set_properties(self, unit: str, properties: Sequence[str]) -> None:
        run(["systemctl", "set-property", "--runtime", unit, *properties], timeout=ASK_SECONDS)

    def is_active(self, unit: str) -> bool:
        return self._ask("is-active", unit)

    def is_failed(self, unit: str) -> bool:
        return self._ask("is-failed", unit)

    def restarts(self, unit: str) -> int:
        argv = ["systemctl", "show", "--property", "NRestarts", "--value", unit]
        said = run(argv, check=False, timeout=ASK_SECONDS).stdout.strip()
        return int(said) if said.isdecimal() else 0

    def failed(self) -> tuple[str, ...]:
        argv = ["systemctl", "list-units", "--failed", "--plain", "--no-legend", "--full"]
        listing = run(argv, timeout=ASK_SECONDS).stdout
        return tuple(line.split()[0] for line in listing.splitlines() if line.split())

    def log_tail(self, unit: str) -> str:
        argv = ["journalctl", "--unit", unit, "--lines", str(LOG_LINES), "--output", "cat",
                "--no-pager", "--quiet"]  # fmt: skip
        return run(argv, check=False, timeout=ASK_SECONDS).stdout.strip()

    def _ask(self, verb: str, unit: str) -> bool:
        argv = ["systemctl", verb, "--quiet", unit]
        return run(argv, check=False, timeout=ASK_SECONDS).returncode == 0


def unfinished_start() -> str:
    """Why the machine's start is not over yet, in a few words; empty once it is.

    Not is-system-running: that says "starting" as long as any job runs, and a timer's job that
    began meanwhile may take half an hour.
    """
    argv = ["systemctl", "is-active", "--quiet", START]
    if run(argv, check=False, timeout=ASK_SECONDS).returncode == 0:
        return ""
    argv = ["systemctl", "list-jobs", "--no-legend", "--plain", "--full"]
    rows = [line.split() for line in run(argv, timeout=ASK_SECONDS).stdout.splitlines()]
    # systemctl(1): job, unit, what is done with it, "running" or "waiting"
    names = [row[1] for row in rows if row[3:4] == ["running"]]
    return f"still waits for {', '.join(names)}" if names else f"never came to {START}"


def is_machine_stopping() -> bool:
    """Whether the machine is being switched off or restarted (systemctl(1), is-system-running)."""
    argv = ["systemctl", "is-system-running"]
    return run(argv, check=False, timeout=ASK_SECONDS).stdout.strip() == "stopping"
