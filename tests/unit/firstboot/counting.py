"""Those whom the jobs ask, on the loopback: each obeys its contract, and notes who does not.

DDNS providers are in tests/world/internet/ddns_ledger.py. ``now`` is the true time, whatever the
appliance's clock says.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dns.message
import dns.rcode
import dns.rdatatype

from services.acme.contract import DAY, HOUR
from unit.services.ddns.nameserver import Zone
from unit.services.gateway_udp import UdpGateway

Now = Callable[[], float]


class CountedGateway(UdpGateway):
    """Notes renewals before half time (RFC 6886 3.3, RFC 6887 11.2.1), and requests within a
    refusal's lifetime (RFC 6887 7.2). ``forget`` when the client has lost what it was granted.
    """

    def __enter__(self) -> CountedGateway:
        self.breaches: list[str] = []
        self.granted: dict[int, tuple[float, int]] = {}
        self.refused_until: dict[int, float] = {}
        super().__enter__()
        return self

    def reboot(self) -> None:
        super().reboot()
        self.forget()

    def forget(self) -> None:
        self.granted.clear()
        self.refused_until.clear()

    def _map(
        self, internal: int, external: int, lifetime: int, nonce: bytes, *, prefer_failure: bool
    ) -> tuple[int, int]:
        now = self.clock.monotonic()
        is_pcp = bool(nonce)
        if lifetime:
            self._judge(internal, external, now, is_pcp=is_pcp)
        result, given = super()._map(
            internal, external, lifetime, nonce, prefer_failure=prefer_failure
        )
        self.granted.pop(internal, None)
        if lifetime and result == 0:
            self.granted[internal] = (now, lifetime)
        if is_pcp:  # NAT-PMP's refusals have no lifetime; those of _pcp have 1800 s
            self.refused_until[internal] = now + 1800 if result else 0.0
        return result, given

    def _judge(self, internal: int, external: int, now: float, *, is_pcp: bool) -> None:
        since, lease = self.granted.get(internal, (now - HOUR, 0))
        if now - since < lease / 2 - 1:
            self.breaches.append(f"port {external} renewed after {now - since:.0f} of {lease} s")
        if is_pcp and now < self.refused_until.get(internal, 0.0):
            self.breaches.append(f"port {external} asked for within the lifetime of its refusal")


ECHO_PAUSE = 600.0  # Dyn's checkip: no more than once in ten minutes


@dataclass
class Echoes:
    """Two services that tell their caller's address, which is ``address``; none when offline."""

    now: Now
    address: str
    is_reachable: bool = True
    asked: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    breaches: list[str] = field(default_factory=list)

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Their URLs, as HEARTH_ECHO_IPV4 has them."""
        echoes = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None: ...

            def do_GET(self) -> None:
                if not echoes.is_reachable:
                    self.close_connection = True
                    return
                echoes.came(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(f"{echoes.address}\n".encode())

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            try:
                base = f"http://127.0.0.1:{server.server_port}"
                yield f"{base}/a {base}/b"
            finally:
                server.shutdown()
                thread.join()

    def came(self, path: str) -> None:
        before = self.asked[path]
        if before and self.now() - before[-1] < ECHO_PAUSE:
            pause = self.now() - before[-1]
            self.breaches.append(f"echo service {path} asked after {pause:.0f} s")
        before.append(self.now())


class CountedZone(Zone):
    """A name server whose owner wants no updates for nothing, and none in a hurry.

    ``mode``: "fine", "servfail", or "refused", after which a client must stop until ``forgive``.
    While it lags, what is published becomes visible only later.
    """

    def __init__(self, zone: str, now: Now, *, min_interval: float) -> None:
        super().__init__(zone)
        self.now, self.min_interval = now, min_interval
        self.mode = "fine"
        self.is_refusing = False
        self.updated_at = float("-inf")
        self.breaches: list[str] = []
        self._late: list[tuple[str, str, tuple[str, ...]]] | None = None

    def lag(self) -> None:
        self._late = self._late or []

    def catch_up(self) -> None:
        late, self._late = self._late or [], None
        for change in late:
            self.publish(*change)

    def forgive(self) -> None:
        self.mode, self.is_refusing = "fine", False

    def publish(self, name: str, kind: str, values: tuple[str, ...]) -> None:
        if self._late is None:
            super().publish(name, kind, values)
        else:
            self._late.append((name, kind, values))

    def _update(self, message: dns.message.Message) -> dns.rcode.Rcode:
        if self.is_refusing:
            self.breaches.append("an update after REFUSED")
        if self.mode == "servfail":
            return dns.rcode.SERVFAIL
        if self.mode == "refused":
            self.is_refusing = True
            return dns.rcode.REFUSED
        before = dict(self.records)
        code = super()._update(message)
        kinds = {dns.rdatatype.to_text(change.rdtype) for change in message.update}
        if not kinds & {"A", "AAAA"}:
            return code  # a challenge's answer, or an alias
        if self.records == before:
            self.breaches.append("an update that changes nothing")
        if self.now() - self.updated_at < self.min_interval:
            self.breaches.append(f"updated after {self.now() - self.updated_at:.0f} s")
        self.updated_at = self.now()
        return code


@dataclass
class CountedAuthority:
    """Let's Encrypt's limits (letsencrypt.org/docs/rate-limits)."""

    now: Now
    orders: list[float] = field(default_factory=list)
    issued: list[tuple[float, frozenset[str]]] = field(default_factory=list)
    failed: Counter[tuple[str, int]] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)

    def order(self) -> None:
        self.orders.append(self.now())
        if sum(at > self.now() - 3 * HOUR for at in self.orders) > 300:
            self.breaches.append("more than 300 orders in three hours")

    def fail(self, name: str) -> None:
        key = (name, int(self.now() // HOUR))
        self.failed[key] += 1
        if self.failed[key] > 5:
            self.breaches.append(f"more than five failed proofs of {name} in an hour")

    def issue(self, names: tuple[str, ...]) -> None:
        self.issued.append((self.now(), frozenset(names)))
        same = [at for at, what in self.issued if what == frozenset(names)]
        if sum(at > self.now() - 7 * DAY for at in same) > 5:
            self.breaches.append("more than five certificates for the same names in a week")
