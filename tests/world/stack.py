"""What clients of a whole appliance do in the tests, and an appliance after setup for them."""

from __future__ import annotations

import json
from pathlib import Path

from world.appliance import OWNER, PASSWORD, SERVER_NAME, boot
from world.sandbox import ADDRESS, ADDRESS6, ELSEWHERE, ELSEWHERE6, NEIGHBOUR6, Sandbox
from world.tree import ensure_tree

# Source, target, and whether the source is on a network of the target's.
SOURCES = (
    ("127.0.0.1", "127.0.0.1", True),
    (ADDRESS, ADDRESS, True),
    (ELSEWHERE, ADDRESS, False),
    (NEIGHBOUR6, ADDRESS6, True),
    (ELSEWHERE6, ADDRESS6, False),
)
PAIRS = tuple((source, target) for source, target, _ in SOURCES)

MESSAGE = """
from services.homeserver import find_homeserver
from services.homeserver.api import create_admin
from appliance.paths import Paths
from appliance.settings import *
paths = Paths()
create_admin(
    find_homeserver(Software(%(software)r)), paths, name="bob", password="other horse battery",
    shared_secret=load_secrets(paths.secrets).registration_shared_secret,
)
anna, bob = login(%(owner)r, %(password)r), login("bob", "other horse battery")
room = ask("/_matrix/client/v3/createRoom",
           {"preset": "private_chat", "room_alias_name": "kitchen",
            "invite": ["@bob:%(server)s"]}, anna)["room_id"]
ask("/_matrix/client/v3/join/" + room.replace("!", "%%21"), {}, bob)
import http.client, ssl
from services.http import LocalTlsConnection
connection = LocalTlsConnection(%(server)r, AUTHORITY, 60, 443)
connection.request("PUT", f"/_matrix/client/v3/rooms/{room}/send/m.room.message/1",
                   json.dumps({"msgtype": "m.text", "body": "supper is ready"}),
                   {"Authorization": "Bearer " + anna})
assert connection.getresponse().status == 200
events, since = [], ""
for _ in range(10):
    sync = ask("/_matrix/client/v3/sync?timeout=5000" + since, token=bob)
    since = "&since=" + sync["next_batch"]
    joined = sync.get("rooms", {}).get("join", {})
    events += joined[room]["timeline"]["events"] if room in joined else []
    if any(event["content"].get("body") for event in events):
        break
# %%23 and %%3A must reach the homeserver undecoded
alias = ask("/_matrix/client/v3/directory/room/%%23kitchen%%3A%(server)s", token=bob)
print(json.dumps({"bodies": [e["content"].get("body") for e in events],
                  "room": room, "alias": alias["room_id"]}))
"""

READ = """
bob = login("bob", "other horse battery")
sync = ask("/_matrix/client/v3/sync", token=bob)
[room] = sync["rooms"]["join"].values()
print(json.dumps([e["content"].get("body") for e in room["timeline"]["events"]]))
"""

UPLOAD = """
import os
from services.http import LocalTlsConnection
anna = login(%(owner)r, %(password)r)
photo = os.urandom(6 * 1024 * 1024)
def send(method, url, body=None):
    connection = LocalTlsConnection(%(server)r, AUTHORITY, 60, 443)
    headers = {"Authorization": "Bearer " + anna, "Content-Type": "image/jpeg"}
    connection.request(method, url, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()
status, body = send("POST", "/_matrix/media/v3/upload", photo)
assert status == 200, body
place = json.loads(body)["content_uri"].removeprefix("mxc://")
status, body = send("GET", "/_matrix/client/v1/media/download/" + place)
too_much, _ = send("POST", "/_matrix/media/v3/upload", b"x" * (51 * 1024 * 1024))
print(json.dumps([status, body == photo, too_much]))
"""

ADMIN = """
import http.client, socket, ssl
def status(source, target):
    context = ssl.create_default_context(cafile=str(AUTHORITY))
    plain = socket.create_connection((target, 443), 30, (source, 0))
    connection = http.client.HTTPConnection(%(server)r)
    connection.sock = context.wrap_socket(plain, server_hostname=%(server)r)
    connection.request("GET", "/_synapse/admin/v1/register")
    return connection.getresponse().status
print(json.dumps([status(*pair) for pair in %(pairs)r]))
"""


def fill(code: str, software: str = "synapse") -> str:
    return code % {
        "software": software,
        "owner": OWNER,
        "password": PASSWORD,
        "server": SERVER_NAME,
        "address": ADDRESS,
        "pairs": PAIRS,
    }


class Provisioned:
    """An appliance after setup; ``reboot`` gives it fresh processes and a fresh /etc."""

    def __init__(self, software: str, state: Path) -> None:
        self.software = software
        self.state = state
        self.sandbox = Sandbox(ensure_tree(), state)

    def reboot(self) -> None:
        self.sandbox.__exit__(None, None, None)
        self.sandbox = Sandbox(ensure_tree(), self.state)
        self.sandbox.__enter__()
        boot(self.sandbox)

    @property
    def unit(self) -> str:
        return f"hearth-{self.software}.service"

    @property
    def key(self) -> Path:
        return self.sandbox.data / "homeserver" / self.software / "signing.key"

    def doctor(self) -> dict[str, tuple[str, str]]:
        output = self.sandbox.hearthctl("doctor", "--json", check=False).stdout
        findings = json.loads(output)["findings"]
        return {found["name"]: (found["verdict"], found["evidence"]) for found in findings}
