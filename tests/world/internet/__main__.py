"""ci/world: the Internet in a box by hand.

ci/world up [VARIANT]     build it (a few seconds) and leave it in the background
ci/world status           who is where, and which daemons run
ci/world shell HOST       a shell in wan, router, lan ...; with words after HOST, that command
ci/world reboot           the router goes off and on, and forgets
ci/world address A.B.C.D  the line gets another public address (203.0.113.x)
ci/world fail | mend      the ISP's outage begins, ends
ci/world down             take everything away
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from appliance.deadline import wait_until
from appliance.errors import HearthError, PrivilegeError, StateError, UsageError
from world.internet.host import ENVIRONMENT
from world.internet.keeper import DIRECTORY, LOG, ORDERS, STATUS, order
from world.internet.options import VARIANTS
from world.internet.places import (
    ACME_DIRECTORY,
    ACME_STAGING_DIRECTORY,
    DDNS,
    ECHO_URLS,
    KEYS,
    NAMESERVER,
    OWNER_KEY,
    OWNER_ZONE,
    RESOLVER,
    ROUTER,
)
from world.internet.programs import ensure_programs

UP_SECONDS = 60.0


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(f"{__doc__}\nVariants: {', '.join(VARIANTS)}")
        return 0
    if os.geteuid() != 0:
        raise PrivilegeError("namespaces need root", hint=f"sudo ci/world {' '.join(argv)}")
    match argv:
        case ["up"]:
            up("plain")
        case ["up", variant] if variant in VARIANTS:
            up(variant)
        case ["status"]:
            show()
        case ["shell", host, *command]:
            enter(host, command)
        case ["down"]:
            down()
        case ["reboot"] | ["fail"] | ["mend"] | ["address", _]:
            status()
            print(order(argv).strip())
        case _:
            message = f"ci/world does not know {' '.join(argv)!r}"
            raise UsageError(message, hint=f"ci/world --help; variants: {', '.join(VARIANTS)}")
    return 0


def status() -> dict[str, Any]:
    """What the keeper has written; raises when none runs."""
    if STATUS.exists():
        found: dict[str, Any] = json.loads(STATUS.read_text())
        command = Path(f"/proc/{found['pid']}/cmdline")
        # A keeper that was killed leaves its file, and its pid may be somebody else's by now.
        if command.exists() and b"world.internet.keeper" in command.read_bytes():
            return found
    raise StateError("no world is up", hint="ci/world up")


def up(variant: str) -> None:
    try:
        status()
    except StateError:
        pass
    else:
        raise StateError("a world is up already", hint="ci/world down, or ci/world status")
    ensure_programs()  # here, so that its progress is seen
    DIRECTORY.mkdir(mode=0o700, exist_ok=True)
    for path in (STATUS, ORDERS):
        path.unlink(missing_ok=True)
    with LOG.open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "world.internet.keeper", variant],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    wait_until(
        lambda: STATUS.exists() or keeper.poll() is not None,
        seconds=UP_SECONDS, what="the start of the world", every=0.1,
    )  # fmt: skip
    if not STATUS.exists():
        raise StateError(f"the world did not start:\n{LOG.read_text()[-3000:]}")
    show()


def show() -> None:
    found = status()
    if ORDERS.exists():
        order(["status"])
        found = status()
    print(f"A home behind the router {found['variant']!r}; its public address: {found['address']}")
    print(f"  names    resolver {RESOLVER}, authoritative {NAMESERVER}")
    print(f"           {OWNER_ZONE}: TSIG hmac-sha256 {OWNER_KEY} {KEYS[OWNER_KEY]}")
    print(f"  ACME     {ACME_DIRECTORY}")
    print(f"           {ACME_STAGING_DIRECTORY}")
    print(f"  echo     {' '.join(ECHO_URLS)}")
    print(f"  DDNS     {DDNS} under the providers' own names")
    print(f"  router   {ROUTER} from inside")
    for name, address in found["home"].items():
        print(f"  {name:8} {address or 'no address'}")
    print(f"Logs: {found['state']}/HOST/logs")
    for name, pid in found["hosts"].items():
        daemons = found["daemons"][name]
        words = [daemon if alive else f"{daemon} (ended)" for daemon, alive in daemons.items()]
        print(f"  ci/world shell {name:8} process {pid}: {', '.join(words) or 'no daemons'}")


def enter(host: str, command: list[str]) -> None:
    """Become a shell in there."""
    found = status()
    if host not in found["hosts"]:
        message = f"there is no host {host!r}"
        raise UsageError(message, hint=f"one of: {', '.join(found['hosts'])}")
    argv = ["nsenter", f"--target={found['hosts'][host]}", "--mount", "--net", "--pid", "--uts",
            "--ipc", "--root", "--wdns=/root", *(command or ["bash", "-i"])]  # fmt: skip
    terminal = {"TERM": os.environ.get("TERM", "dumb"), "PS1": f"{host}:\\w# "}
    os.execvpe(argv[0], argv, ENVIRONMENT | terminal)


def down() -> None:
    pid = int(status()["pid"])
    order(["down"])
    wait_until(lambda: not STATUS.exists(), seconds=30, what=f"the end of process {pid}", every=0.1)
    print("The world is gone.")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except HearthError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f" hint: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
