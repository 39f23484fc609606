"""A sandboxed appliance as the agent leaves it to the provisioning, and a client's view of it."""

from __future__ import annotations

import json
from typing import Any

from appliance.deadline import wait_until
from world.sandbox import Sandbox

SERVER_NAME = "home.example.org"
OWNER = "anna"
PASSWORD = "correct horse battery"

ALWAYS = ("nginx.service", "hearth-agent.service", "hearth-ui.service", "hearth-apply.service")

ANSWER = f"""
from pathlib import Path
from appliance.paths import Paths
from appliance.settings import *
from appliance.state import *
from firstboot.skeleton import make_skeleton
from services.passwords import hash_secret
import shutil
paths = Paths()
if not paths.hearth.exists():
    make_skeleton(Path("/data/new"))
    for entry in Path("/data/new").iterdir():
        shutil.move(entry, paths.data)
save_toml(
    Settings(
        owner=Owner(name={OWNER!r}),
        device=Device(timezone="Europe/Berlin", memory=RamClass.GB1),
        server=Server(name={SERVER_NAME!r}, software=Software("%s")),
    ),
    paths.settings,
    mode=0o640,
)
save_toml(
    Secrets(owner_password_hash=hash_secret({PASSWORD!r}), pending_password={PASSWORD!r}),
    paths.secrets,
    mode=0o600,
)
save_state(State(phase=Phase.APPLYING), paths.state)
"""

# A client on the home network: HTTPS by name, the certificate verified against the authority.
CLIENT = f"""
import json, sys
from pathlib import Path
from services.http import ask_https
AUTHORITY = Path("/data/certificates/authority.pem")
def ask(url, body=None, token=None, name={SERVER_NAME!r}):
    answer = ask_https(name, url, authority=AUTHORITY, body=body, token=token)
    if answer.status != 200:
        sys.exit(f"{{url}}: {{answer.status}} {{answer.body!r}}")
    return answer.json()
def login(name, password):
    user = {{"type": "m.id.user", "user": name}}
    body = {{"type": "m.login.password", "identifier": user, "password": password}}
    return ask("/_matrix/client/v3/login", body)["access_token"]
"""


def answer_wizard(sandbox: Sandbox, software: str) -> None:
    """Data partition, settings and secrets as they are when the owner has pressed Apply."""
    sandbox.python(ANSWER % software)


def load_state(sandbox: Sandbox) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((sandbox.data / "hearth" / "state.json").read_text())
    return table


def client(sandbox: Sandbox, code: str) -> Any:
    """Run a client's lines; the JSON that they print."""
    return json.loads(sandbox.python(CLIENT + code))


def boot(sandbox: Sandbox) -> None:
    """Start what systemd would, in its order; a unit that refuses does not stop the others."""
    for unit in (
        "nginx.service",
        "hearth-agent.service",
        "hearth-ui.service",
        "hearth-apply.service",
        "hearth-postgresql.service",
        "hearth-synapse.service",
        "hearth-dendrite.service",
    ):
        sandbox.run(["systemctl", "start", unit], check=unit in ALWAYS)


def wait_for_setup(sandbox: Sandbox, *, seconds: float = 180) -> dict[str, Any]:
    """Until the provisioning, which the agent has started, is through; the state it left."""

    def ended() -> dict[str, Any] | None:
        state = load_state(sandbox)
        return state if state["phase"] in ("ready", "failed") else None

    return wait_until(ended, seconds=seconds, what="the end of the setup")
