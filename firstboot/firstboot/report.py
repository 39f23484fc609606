"""What hearthctl prints: for people in lines, for scripts as JSON."""

from __future__ import annotations

import json
import socket
import sys
from typing import TYPE_CHECKING, Any

from appliance.errors import HearthError, PrivilegeError, StateError
from appliance.paths import Paths
from appliance.protocol import GetStatus, Status, decode_reply, encode_request
from appliance.tables import to_table
from appliance.update import Outcome, UpdateState
from services import slots
from services.health.updates import tell_outcome, tell_state
from services.ssh import read_keys
from services.update.state import load_history, load_update

if TYPE_CHECKING:
    from services.configuration import ApplyReport

ASK_SECONDS = 30.0
CHUNK = 65536
SHOWN_OUTCOMES = 5


def ask_status(paths: Paths) -> Status:
    """Asked from the agent, which measures. Raises StateError when it does not answer."""
    reply = _exchange(paths, encode_request(GetStatus()))
    try:
        status: Status = decode_reply(GetStatus(), reply)
    except (ValueError, KeyError, TypeError) as error:
        said = f"{reply[:80]!r}" if reply else "nothing"
        message = f"the agent was asked for its status and said {said}"
        raise StateError(message, hint="look at: journalctl -u hearth-agent") from error
    return status


def _exchange(paths: Paths, line: bytes) -> bytes:
    reply = bytearray()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ASK_SECONDS)
            connection.connect(str(paths.agent_socket))
            connection.sendall(line)
            while chunk := connection.recv(CHUNK):
                reply += chunk
    except PermissionError as error:
        message = f"you may not talk to the agent on {paths.agent_socket}"
        raise PrivilegeError(message, hint="sign in over SSH as root") from error
    except OSError as error:
        message = f"the agent does not answer on {paths.agent_socket}: {error}"
        raise StateError(message, hint="look at: journalctl -u hearth-agent") from error
    return bytes(reply)


def show_status(paths: Paths, *, as_json: bool) -> int:
    status = ask_status(paths)
    slot: dict[str, Any]
    try:
        slot = to_table(slots.status(paths))
    except (HearthError, OSError) as error:
        slot = {"error": str(error)}
    state, history, keys = load_update(paths), load_history(paths), read_keys(paths)
    if as_json:
        update = {**to_table(state), "history": [to_table(one) for one in history]}
        table = {**to_table(status), "slot": slot, "update": update, "ssh_keys": keys}
        sys.stdout.write(json.dumps(table, indent=1) + "\n")
        return 0
    width = 12
    ssh = [("ssh key", key) for key in keys] or [("ssh", "off: no key was set")]
    lines = [*_lines(status, slot), *ssh, *_update_lines(state, history)]
    for label, value in lines:
        sys.stdout.write(f"{label + ':':{width}} {value}\n")
    return 0


def _lines(status: Status, slot: dict[str, Any]) -> list[tuple[str, str]]:
    kind = " (development image)" if status.development else ""
    lines = [
        ("state", status.phase.value),
        ("version", f"{status.version}{kind}"),
        ("board", status.board),
        ("memory", f"{status.memory} MB, sized for {status.ram.label}"),
        ("names", ", ".join(status.names) or "none announced"),
        ("addresses", ", ".join(status.addresses) or "none"),
        ("data", f"{status.data} {status.data_detail}".strip()),
        ("clock", "synchronised" if status.clock_synchronised else "not synchronised"),
        ("slot", _slot_line(slot)),
    ]
    if status.server_name:
        lines.append(("server", f"{status.server_name} ({status.software})"))
    if status.is_public:
        lines.append(("clients", status.client_url))
    for one in status.outside:
        lines.append((one.name, f"{one.judgement.value}: {one.detail}"))
    if status.authority_fingerprint:
        lines.append(("authority", status.authority_fingerprint))
    return [*lines, *(("note", note) for note in status.notes)]


def _update_lines(state: UpdateState, history: tuple[Outcome, ...]) -> list[tuple[str, str]]:
    """What is going on, and how the last ones ended."""
    now = tell_state(state) or (f"none; the last try: {state.error}" if state.error else "none")
    return [("update", now), *(("earlier", tell_outcome(one)) for one in history[:SHOWN_OUTCOMES])]


def _slot_line(slot: dict[str, Any]) -> str:
    if "error" in slot:
        return f"unknown: {slot['error']}"
    kind = "committed" if slot["committed"] else "on trial"
    left = slot["left"].get(slot["booted"], 0)
    return f"{slot['booted']}, {kind}, {left} attempts left, primary is {slot['primary']}"


def show_apply(report: ApplyReport, *, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(json.dumps(to_table(report), indent=1) + "\n")
        return 0
    for change in report.changes:
        sys.stdout.write(f"{change.what}: {change.target}\n{change.diff}")
    for action in report.actions:
        sys.stdout.write(f"{'would ' if report.dry_run else ''}{action}\n")
    if not report.changes and not report.actions:
        sys.stdout.write("everything is as it should be\n")
    return 0
