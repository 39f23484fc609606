"""The way in through a rented server: whether it answers, and whether it hands on what comes in."""

from __future__ import annotations

import http.client
import secrets
import time
from dataclasses import dataclass

from appliance.settings import Settings, Tunnel
from services.acme.challenge import Webroot
from services.health.result import CheckResult, Examination, failed, passed, warned
from services.names import public_names
from services.tunnel.place import find_tunnel
from services.tunnel.status import TunnelStatus, load_status

LOOK_SECONDS = 10.0


@dataclass(frozen=True)
class TunnelCheck:
    name: str = "tunnel"
    title: str = "Tunnel"
    needs_setup: bool = True

    def run(self, examination: Examination) -> CheckResult:
        tunnel = find_tunnel(examination.server)
        if tunnel is None:
            return passed("none is wanted: the world comes in by another way")
        status, now = load_status(examination.paths), time.monotonic()
        if status is None:
            return failed("the tunnel was not started", "run: systemctl start hearth-tunnel")
        if not status.is_alive(now):
            return _judge_dead(status, now)
        lines = [
            f"{status.endpoint} answered {status.age(now):.0f} s ago",
            f"{status.received} bytes received, {status.sent} sent",
        ]
        problem = ask_from_outside(examination, tunnel)
        if problem:
            hint = "paste the script into a root shell of the rented server again and read its end"
            return failed("\n".join((*lines, problem)), hint)
        return passed("\n".join((*lines, "what is sent to its port 80 arrives here")))


def _judge_dead(status: TunnelStatus, now: float) -> CheckResult:
    trouble = status.trouble(now)
    if trouble is None:
        return warned("nobody has answered yet", "wait a minute, then look again")
    seen = status.diagnosis.evidence if status.diagnosis else ()
    return failed("\n".join((trouble.sentence, *seen)), trouble.next_step)


def ask_from_outside(examination: Examination, tunnel: Tunnel) -> str:
    """Out by the usual way and in again through the rented server; what is wrong, if anything.

    A word that nobody can guess is served where an authority would look for its own.
    """
    host = _name(examination.server)
    token = secrets.token_urlsafe(24)
    root = Webroot(examination.paths)
    root.present(host, token, token)
    connection = http.client.HTTPConnection(tunnel.server, 80, timeout=LOOK_SECONDS)
    try:
        path = f"/.well-known/acme-challenge/{token}"
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse().read(len(token) + 1)
    except (OSError, http.client.HTTPException) as error:
        reason = f"{error}" or type(error).__name__
        return f"port 80 of {tunnel.server} leads nowhere: {reason}"
    finally:
        connection.close()
        root.remove(host, token, token)
    return "" if answer == token.encode() else f"port 80 of {tunnel.server} leads to somebody else"


def _name(settings: Settings) -> str:
    names = public_names(settings)
    assert names is not None
    return names.server
