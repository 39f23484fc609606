"""The verdict on how the world reaches us, from facts; echo services; the stable IPv6 address."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from appliance.errors import NetworkError
from services import echo
from services.address import (
    SENTENCES,
    Facts,
    Kind,
    Reachability,
    classify,
    find_wan,
    kind_of,
)
from services.echo import Echo, agreed, ask_services, parse_answer, services
from services.portmap.causes import Cause
from services.portmap.place import stable_ipv6
from services.wan import WanAddresses

OUTSIDE = "203.0.113.10"
IPV6 = "2001:db8:1:1::10"


def echoes(*addresses: str) -> tuple[Echo, ...]:
    return tuple(
        Echo(service=f"https://e{number}.example.com/", address=address,
             error="" if address else "it cannot be reached")
        for number, address in enumerate(addresses)
    )  # fmt: skip


GOOD = Facts(lan="192.168.1.5", gateway="192.168.1.1", protocol="pcp", router_wan=OUTSIDE,
             echoes=echoes(OUTSIDE, OUTSIDE))  # fmt: skip
SIX = replace(GOOD, ipv6=IPV6, echoes6=echoes(IPV6))


@pytest.mark.parametrize(
    ("facts", "verdict", "ipv4"),
    [
        (GOOD, "open", OUTSIDE),
        (replace(GOOD, echoes=echoes(OUTSIDE, "")), "open", OUTSIDE),
        (replace(GOOD, router_wan="192.168.0.2"), "double-nat", OUTSIDE),
        (replace(GOOD, router_wan="172.31.0.2"), "double-nat", OUTSIDE),
        (replace(GOOD, router_wan=""), "double-nat", OUTSIDE),
        (replace(GOOD, router_wan="", is_mapped=True), "open", OUTSIDE),
        (replace(GOOD, router_wan="100.64.3.4"), "cgnat", None),
        (replace(GOOD, router_wan="100.127.255.254"), "cgnat", None),
        (replace(GOOD, router_wan="192.0.0.2"), "cgnat", None),
        (replace(GOOD, router_wan="198.51.100.7"), "cgnat", None),
        (replace(GOOD, echoes=echoes(OUTSIDE, "198.51.100.7")), "cgnat", None),
        (replace(GOOD, protocol="", router_wan=""), "no-igd", OUTSIDE),
        (replace(GOOD, protocol="", router_wan="", echoes=echoes(OUTSIDE, "")), "no-igd", None),
        (replace(GOOD, refusal=Cause.UNAUTHORIZED), "no-igd", OUTSIDE),
        (replace(GOOD, echoes=echoes("", "")), "offline", None),
        (replace(GOOD, gateway="", lan="", echoes=()), "offline", None),
        (replace(SIX, gateway="", lan="", echoes=()), "ipv6-only", None),
        (replace(SIX, echoes=echoes("", "")), "ipv6-only", None),
        (replace(SIX, echoes=echoes("", ""), echoes6=echoes("", "")), "offline", None),
    ],
)
def test_verdicts(facts: Facts, verdict: str, ipv4: str | None) -> None:
    finding = classify(facts)
    assert finding.verdict.value == verdict
    assert finding.sentence.endswith(".")
    assert finding.next_step
    assert find_wan(facts, finding.verdict) == WanAddresses(ipv4=ipv4, ipv6=facts.ipv6 or None)
    # What decided can be read by the owner.
    text = "\n".join(finding.evidence)
    assert all(one.address in text for one in facts.echoes)
    assert not facts.router_wan or not facts.protocol or facts.router_wan in text


def test_every_verdict_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Reachability)


def test_the_way_by_ipv6_is_offered() -> None:
    assert "IPv6" in classify(replace(SIX, router_wan="100.64.0.9")).next_step
    assert "IPv6" not in classify(replace(SIX)).next_step


def test_a_refusal_is_told_in_its_own_words() -> None:
    assert "forbids" in classify(replace(GOOD, refusal=Cause.UNAUTHORIZED)).sentence


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("203.0.113.10", Kind.PUBLIC), ("100.63.255.255", Kind.PUBLIC), ("100.64.0.0", Kind.SHARED),
        ("100.127.255.255", Kind.SHARED), ("100.128.0.0", Kind.PUBLIC), ("10.0.0.1", Kind.PRIVATE),
        ("169.254.1.1", Kind.PRIVATE), ("0.0.0.0", Kind.NONE), ("", Kind.NONE), ("x", Kind.NONE),
        ("127.0.0.1", Kind.NONE), ("239.1.1.1", Kind.NONE), ("192.0.0.1", Kind.SHARED),
        ("172.15.0.1", Kind.PUBLIC), ("172.32.0.1", Kind.PUBLIC),
    ],
)  # fmt: skip
def test_kinds_of_addresses(text: str, kind: Kind) -> None:
    assert kind_of(text) is kind


def test_two_services_must_agree() -> None:
    assert agreed(echoes(OUTSIDE, OUTSIDE)) == OUTSIDE
    assert agreed(echoes(OUTSIDE)) == ""
    assert agreed(echoes(OUTSIDE, "")) == ""
    assert agreed(echoes(OUTSIDE, "198.51.100.7")) == ""


@pytest.mark.parametrize("text", ["<html>Sign in</html>", "", "203.0.113.999", IPV6])
def test_an_answer_that_is_no_address(text: str) -> None:
    with pytest.raises(NetworkError):
        parse_answer(text, 4)
    assert parse_answer(f"{OUTSIDE}\n", 4) == OUTSIDE


class Page(BaseHTTPRequestHandler):
    """A service that does what its path says."""

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        code = {"/redirect": 302, "/busy": 503}.get(self.path, 200)
        body = {"/html": b"<html>" + b"x" * 100_000, "/good": b"203.0.113.10\n"}.get(self.path, b"")
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "/good")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def page() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_services_that_do_other_things(page: str) -> None:
    """A sign-in page, a redirect to one, a busy server, nobody: a reason each, and no address."""
    urls = [f"{page}/{path}" for path in ("good", "html", "redirect", "busy")]
    found = ask_services([*urls, "http://127.0.0.1:9/"])
    assert [one.address for one in found] == [OUTSIDE, "", "", "", ""]
    assert [bool(one.error) for one in found] == [False, True, True, True, True]
    assert "302" in found[2].error


def test_a_service_that_never_ends_is_left_to_itself(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte after byte: no single wait is too long, and a verdict is due in ten seconds."""
    assert echo.TOTAL_SECONDS < 10
    monkeypatch.setattr(echo, "TOTAL_SECONDS", 1.0)
    ended = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            while not ended.wait(0.2):
                connection.sendall(b"H")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        begin = time.monotonic()
        found = ask_services([f"http://127.0.0.1:{listener.getsockname()[1]}/", f"{page}/good"])
        assert time.monotonic() - begin < 3
        ended.set()
        thread.join()
    assert [one.address for one in found] == ["", OUTSIDE]
    assert "no answer within" in found[0].error


def test_services_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(services(4)) == len(services(6)) == 2
    assert all(url.startswith("https://") for url in (*services(4), *services(6)))
    monkeypatch.setenv("HEARTH_ECHO_IPV4", "https://a.example/ https://b.example/")
    assert services(4) == ("https://a.example/", "https://b.example/")


def line(address: str, scope: int, flags: int, name: str = "eth0", length: int = 64) -> str:
    digits = address.replace(":", "")
    return f"{digits} 02 {length:02x} {scope:02x} {flags:02x} {name:>8}"


STABLE = "20010db8000100010000000000000010"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([line(STABLE, 0, 0x00)], IPV6),
        ([line(STABLE, 0, 0x80)], IPV6),  # permanent
        ([line(STABLE, 0, 0x01)], ""),  # temporary, RFC 8981
        ([line(STABLE, 0, 0x20)], ""),  # deprecated: the prefix is about to go
        ([line(STABLE, 0, 0x40)], ""),  # tentative: it may be somebody else's
        ([line(STABLE, 0, 0x08)], ""),  # it is
        ([line(STABLE, 0x20, 0x80)], ""),  # link-local
        ([line(STABLE, 0, 0x80, "wg0")], ""),
        ([line("fd000db8000100010000000000000010", 0, 0x80)], ""),  # RFC 4193
        ([line("20010db8000100010000000000000001", 0, 0, length=128), line(STABLE, 0, 0)], IPV6),
        (["rubbish", ""], ""),
    ],
)
def test_the_stable_ipv6_address(lines: list[str], found: str) -> None:
    assert stable_ipv6("\n".join(lines), "eth0") == found
