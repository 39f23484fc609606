"""A second homeserver out there, on a domain of its own: whom the appliance federates with.

Synapse from the same tree as the appliance's (tree.py), with SQLite, at https://remote.example.net
on ports 8448 (federation) and 443 (clients). It trusts the box's authorities and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from world.internet.host import Host
from world.internet.places import REMOTE, REMOTE_NAME
from world.internet.world import World
from world.tree import ensure_tree

SHARED_SECRET = "remote-shared-secret"
PASSWORD = "remote horse battery"
PROGRAM = ["env", "PYTHONPATH=/usr/lib/hearth/synapse", "python3", "-m", "synapse.app.homeserver",
           "--config-path=/srv/homeserver.yaml"]  # fmt: skip
LISTENER = {
    "type": "http",
    "tls": True,
    "bind_addresses": ["0.0.0.0"],
    "resources": [{"names": ["client", "federation"]}],
}
CONFIG: dict[str, Any] = {
    "server_name": REMOTE_NAME,
    "public_baseurl": f"https://{REMOTE_NAME}/",
    "report_stats": False,
    "listeners": [{**LISTENER, "port": port} for port in (443, 8448)],
    "tls_certificate_path": "/srv/remote.pem",
    "tls_private_key_path": "/srv/remote.key",
    "database": {"name": "sqlite3", "args": {"database": "/srv/homeserver.db"}},
    "signing_key_path": "/srv/signing.key",
    "media_store_path": "/srv/media",
    "registration_shared_secret": SHARED_SECRET,
    "macaroon_secret_key": "remote-macaroon",
    "form_secret": "remote-form",
    "trusted_key_servers": [],
    # Synapse refuses private and documentation ranges otherwise.
    "ip_range_blacklist": [],
    "federation_ip_range_blacklist": [],
    # Tests log in more often than people do.
    "rc_login": {key: {"per_second": 100, "burst_count": 100} for key in ("address", "account")},
}
# It gives up on a server that does not answer within seconds, not within minutes; how long it then
# waits before it tries again is Synapse's own, ten minutes at first.
HASTE: dict[str, Any] = {
    "federation": {
        "client_timeout": "5s",
        "max_short_retries": 1,
        "max_short_retry_delay": "1s",
        "max_long_retries": 1,
        "max_long_retry_delay": "1s",
    },
}


class Remote:
    """Started in a world that runs, and gone with it.

    ``is_hasty``: it soon gives up on others; Synapse's own patience is what emulated ones need.
    """

    def __init__(self, world: World, *, is_hasty: bool = True) -> None:
        self.client = world.wan.host  # curl is in the other tree
        self._admin = ""
        self.host: Host = world.add_server("remote", REMOTE, tree=ensure_tree())
        files = self.host.files
        names = [REMOTE_NAME]
        world.wan.authority.issue(names, files / "remote.pem", files / "remote.key")
        # JSON is YAML.
        (files / "homeserver.yaml").write_text(json.dumps(CONFIG | (HASTE if is_hasty else {})))
        self.host.run([*PROGRAM, "--generate-keys"])
        self.start()

    def start(self) -> None:
        self.host.start("synapse", PROGRAM)
        # Importing Synapse takes its time where cores are shared.
        for port in (443, 8448):
            self.host.wait_for_port("synapse", port, seconds=120)

    def stop(self) -> None:
        """Out of reach, as in an outage on their side; ``start`` brings it back."""
        self.host.stop("synapse")

    def retry_interval(self, server: str) -> int:
        """How long it leaves ``server`` alone after it did not answer, in ms; 0 while it does not.

        Synapse admin API, "Destination Details"; nothing is known of a server it has not sent to.
        """
        if not self._admin:
            self._admin = self.add_user("administrator", kind="admin")
        path = f"/_synapse/admin/v1/federation/destinations/{server}"
        return int(self.ask("GET", path, token=self._admin).get("retry_interval", 0))

    def add_user(self, name: str, *, kind: str = "notadmin") -> str:
        """A new account with PASSWORD; its access token. ``kind`` is "admin" or "notadmin"."""
        nonce = self.ask("GET", "/_synapse/admin/v1/register")["nonce"]
        signed = "\0".join((nonce, name, PASSWORD, kind)).encode()
        mac = hmac.new(SHARED_SECRET.encode(), signed, hashlib.sha1).hexdigest()
        account = {"nonce": nonce, "username": name, "password": PASSWORD, "mac": mac,
                   "admin": kind == "admin"}  # fmt: skip
        return str(self.ask("POST", "/_synapse/admin/v1/register", account)["access_token"])

    def ask(self, method: str, path: str, body: object = None, token: str = "") -> dict[str, Any]:
        """One request of a client of theirs; its answer, whatever the status."""
        argv = ["--request", method, f"https://{REMOTE_NAME}{path}"]
        if body is not None:
            argv += ["--data", json.dumps(body)]
        if token:
            argv += ["--header", f"Authorization: Bearer {token}"]
        answer: dict[str, Any] = json.loads(self._fetch(argv))
        return answer

    def _fetch(self, argv: list[str]) -> str:
        return self.client.run(["curl", "-sS", "--max-time", "60", *argv], seconds=90).stdout
