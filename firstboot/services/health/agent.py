"""The agent, asked over its own socket."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from appliance.errors import StateError
from appliance.protocol import GetStatus, Status, decode_reply, encode_request
from services.health.result import CheckResult, Examination, passed

ASK_SECONDS = 30
CHUNK = 65536


@dataclass(frozen=True)
class AgentCheck:
    name: str = "agent"
    title: str = "Agent"
    needs_setup: bool = False

    def run(self, examination: Examination) -> CheckResult:
        file = examination.paths.agent_socket
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(ASK_SECONDS)
                connection.connect(str(file))
                connection.sendall(encode_request(GetStatus()))
                reply = b"".join(iter(lambda: connection.recv(CHUNK), b""))
        except OSError as error:
            message = f"the agent does not answer on {file}: {error.strerror or error}"
            raise StateError(message, hint="look at: journalctl -u hearth-agent") from error
        status: Status = decode_reply(GetStatus(), reply)
        return passed(f"answers; the appliance is {status.phase.value}")
