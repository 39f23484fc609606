"""RAUC's service as busctl tells of it, for what needs a real one's kernel: writing a slot.

Its answers are copies of those of RAUC 1.13 (test_rauc.py asks a real one where there is one). The
directory of a bench holds what happens: bundles.json (source -> info or error), plan.json (what the
next installation does), and what it has written down.

busctl is started hundreds of times: so it is a small shell script (SCRIPT), and the answer comes
from a thread of the tests.
"""

from __future__ import annotations

import json
import threading
from functools import cache
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

# What it was asked goes over the connection, and exit code, output and errors come back.
SCRIPT = """#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/{port}
printf '%s\\0' "{place}" "$#" "$@" >&3
for part in code output errors; do IFS= read -r -d '' "$part" <&3; done
printf '%s' "$output"
printf '%s' "$errors" >&2
exit "$code"
"""


class CallError(Exception):
    """As busctl says it."""


def variant(kind: str, value: object) -> dict[str, object]:
    return {"type": kind, "data": value}


class Played:
    """RAUC over the files of one directory."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def answer(self, argv: list[str]) -> list[object]:
        """What busctl prints, one JSON text a line. Raises CallError."""
        if (self._place / "dead").exists():
            raise CallError("The name de.pengutronix.rauc was not provided by any .service files")
        words = [word for word in argv if not word.startswith("--")]
        verb, name, path, interface, *rest = words
        assert (name, path) == ("de.pengutronix.rauc", "/")
        assert interface == "de.pengutronix.rauc.Installer"
        if verb == "get-property":
            assert rest == ["Operation", "Progress", "LastError"]
            return self._look()
        match rest:
            case ["InspectBundle", "sa{sv}", source, "0"]:
                return self._inspect(source)
            case ["InstallBundle", "sa{sv}", source, "1", "transaction-id", "s", transaction]:
                return self._install(source, transaction)
            case ["GetSlotStatus"]:
                return self._slots()
        raise CallError(f"Unknown method {rest}")

    def _read(self, name: str) -> Any:
        file = self._place / f"{name}.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def _write(self, name: str, value: Any) -> None:
        (self._place / f"{name}.json").write_text(json.dumps(value))

    def _inspect(self, source: str) -> list[object]:
        bundle = self._read("bundles").get(source)
        if bundle is None:
            message = f"Invalid bundle format: Failed to open bundle for reading: {source}"
            raise CallError(message)
        if "error" in bundle:
            raise CallError(bundle["error"])
        update = {name: variant("s", bundle["update"][name]) for name in ("version", "compatible")}
        info = {
            "update": variant("v", variant("a{sv}", update)),
            "manifest-hash": variant("s", bundle["manifest"]),
            "meta": variant("v", variant("a{sa{ss}}", {"hearth": bundle["meta"]})),
        }
        return [variant("a{sv}", [info])]

    def _install(self, source: str, transaction: str) -> list[object]:
        run = self._read("run")
        if run.get("steps"):
            raise CallError("Already processing a different method")
        plan = self._read("plan")
        if plan.get("refuse"):
            raise CallError(plan["refuse"])
        bundle = self._read("bundles").get(plan.get("swapped", source), {})
        steps = plan.get("steps", [[40, "Copying image to rootfs.1"], [90, "x"]])
        run = {"steps": steps, "transaction": transaction, "bundle": bundle, "plan": plan}
        self._write("run", run)
        self._write("calls", [*(self._read("calls") or []), [source, transaction]])
        return []

    def _look(self) -> list[object]:
        run = self._read("run")
        error, progress, operation = run.get("error", ""), [0, "", 0], "idle"
        if run.get("steps"):
            progress, operation = [*run["steps"].pop(0), 1], "installing"
            if not run["steps"]:
                self._end(run)
                error, progress, operation = run.get("error", ""), run["progress"], "idle"
            self._write("run", run)
        elif "progress" in run:
            progress = run["progress"]
        return [variant("s", operation), variant("(isi)", progress), variant("s", error)]

    def _end(self, run: dict[str, Any]) -> None:
        plan, bundle = run["plan"], run["bundle"]
        run["error"] = plan.get("error", "")
        run["progress"] = [100, "Installing failed." if run["error"] else "Installing done.", 1]
        if not run["error"] and not plan.get("crash"):
            record = {
                "status": plan.get("status", "ok"),
                "bundle.version": bundle["update"]["version"],
                "bundle.hash": bundle["manifest"],
                "installed.transaction": run["transaction"],
            }
            self._write("slots", {**self._read("slots"), plan.get("slot", "B"): record})

    def _slots(self) -> list[object]:
        if self._read("run").get("steps"):
            raise CallError("already processing a different method")
        found = []
        known = self._read("slots")
        for number, name in enumerate("AB"):
            status = {"bootname": variant("s", name), "class": variant("s", "rootfs")}
            status |= {key: variant("s", value) for key, value in known.get(name, {}).items()}
            found.append([f"rootfs.{number}", status])
        return [variant("a(sa{sv})", [found])]


class _Handler(StreamRequestHandler):
    def handle(self) -> None:
        place = self._text()
        argv = [self._text() for _ in range(int(self._text()))]
        code, output, errors = "0", "", ""
        try:
            output = "".join(f"{json.dumps(one)}\n" for one in Played(Path(place)).answer(argv))
        except CallError as error:
            code, errors = "1", f"Call failed: {error}\n"
        self.wfile.write(f"{code}\0{output}\0{errors}\0".encode())

    def _text(self) -> str:
        text = bytearray()
        while (char := self.rfile.read(1)) not in (b"\0", b""):
            text += char
        return text.decode()


class _Server(ThreadingTCPServer):
    daemon_threads = True


@cache
def _port() -> int:
    """One server for all tests of the process; it ends with it."""
    server = _Server(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])


def write_busctl(place: Path) -> Path:
    """A busctl that asks RAUC as it is played at ``place``."""
    program = place / "busctl"
    program.write_text(SCRIPT.format(port=_port(), place=place))
    program.chmod(0o755)
    return program
