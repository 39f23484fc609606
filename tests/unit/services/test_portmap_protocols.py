"""PCP, NAT-PMP and UPnP with real packets and calls, against honest gateways on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from services.portmap import datagram, igd
from services.portmap.causes import EXPLANATIONS, Cause, Refused
from services.portmap.igd import Igd
from services.portmap.mapper import PORTS, Mapper, Port
from services.portmap.natpmp import NatPmp
from services.portmap.pcp import Pcp, make_nonce
from services.portmap.ssdp import host_of, parse_answer
from unit.services.gateway_igd import IgdGateway
from unit.services.gateway_udp import OUTSIDE, UdpGateway

WEB = Port(external=443, internal=8443)
HERE = "127.0.0.1"


def natpmp(gateway: UdpGateway) -> NatPmp:
    return NatPmp(HERE, source=HERE, port=gateway.port)


def pcp(gateway: UdpGateway) -> Pcp:
    return Pcp(HERE, machine_id="0123", source=HERE, port=gateway.port)


@pytest.fixture(params=["nat-pmp", "pcp"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def speak(kind: str, gateway: UdpGateway) -> Mapper:
    return natpmp(gateway) if kind == "nat-pmp" else pcp(gateway)


def refusal(mapper: Mapper, port: Port = WEB) -> Refused:
    with pytest.raises(Refused) as caught:
        mapper.map(port, 3600)
    return caught.value


def test_a_mapping_lives_and_ends(kind: str) -> None:
    with UdpGateway(time) as gateway:
        mapper = speak(kind, gateway)
        assert mapper.discover().epoch == 0
        assert mapper.external_address() == OUTSIDE
        assert [mapper.map(port, 3600).lease for port in PORTS] == [3600] * 3
        assert gateway.open_ports() == {80: 8080, 443: 8443, 8448: 8448}
        mapper.map(WEB, 3600)  # a renewal keeps the port
        mapper.unmap(WEB)
        mapper.unmap(WEB)  # closed already: nothing happens
        assert gateway.open_ports() == {80: 8080, 8448: 8448}
        mapper.close()


def test_a_taken_port_is_left_alone(kind: str) -> None:
    with UdpGateway(time, taken=frozenset({443})) as gateway:
        mapper = speak(kind, gateway)
        assert refusal(mapper).cause is Cause.CONFLICT
        assert gateway.open_ports() == {}  # what NAT-PMP offered instead was given back
        mapper.close()


def test_a_pcp_router_without_prefer_failure() -> None:
    """RFC 6887 13.2: the option may be ignored; then another port comes, and goes back."""
    with UdpGateway(time, taken=frozenset({443}), knows_prefer_failure=False) as gateway:
        mapper = pcp(gateway)
        assert refusal(mapper).cause is Cause.CONFLICT
        assert gateway.open_ports() == {}
        mapper.close()


def test_no_room_and_how_long_to_wait(kind: str) -> None:
    with UdpGateway(time, room=0) as gateway:
        mapper = speak(kind, gateway)
        error = refusal(mapper)
        assert error.cause is Cause.FULL
        assert error.retry_seconds == (1800 if kind == "pcp" else 0)
        mapper.close()


def test_a_router_without_an_outside() -> None:
    with UdpGateway(time, outside="") as gateway:
        mapper = natpmp(gateway)
        with pytest.raises(Refused) as caught:
            mapper.discover()
        assert caught.value.cause is Cause.NO_WAN
        mapper.close()


@pytest.mark.parametrize(("versions", "cause"), [((0,), "pcp"), ((2,), "nat-pmp")])
def test_the_other_version(versions: tuple[int, ...], cause: str) -> None:
    """RFC 6887 section 9: a NAT-PMP router answers a PCP client in its own way."""
    with UdpGateway(time, versions=versions) as gateway:
        mapper = speak(cause, gateway)
        with pytest.raises(Refused) as caught:
            mapper.discover()
        assert caught.value.cause in (Cause.UNSUPPORTED, Cause.SILENT)
        mapper.close()


def test_a_lost_packet_is_sent_again(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.portmap.pcp.WAITS", (0.2, 3.0))
    with UdpGateway(time, mute=1) as gateway:
        mapper = speak(kind, gateway)
        assert mapper.map(WEB, 3600).lease == 3600
        assert mapper.requests == 2
        assert gateway.asked["lost"] == 1
        mapper.close()


def test_nobody_listens(kind: str) -> None:
    """The router's ICMP is heard at once: nobody waits for a time-out."""
    with UdpGateway(time) as gateway:
        pass
    mapper = speak(kind, gateway)
    begin = time.monotonic()
    assert refusal(mapper).cause is Cause.SILENT
    assert time.monotonic() - begin < 1
    mapper.close()


def test_answers_of_strangers_are_not_heard() -> None:
    """Only the router's own address and port count: the socket is connected to it."""
    with UdpGateway(time) as gateway, UdpGateway(time, outside="198.51.100.66") as stranger:
        mapper = natpmp(gateway)
        source = mapper._router._socket.getsockname()
        stranger._socket.sendto(b"\x00\x80\x00\x00\x00\x00\x00\x00\xc6\x33\x64\x42", source)
        assert mapper.external_address() == OUTSIDE
        mapper.close()


def test_a_nonce_of_our_own() -> None:
    """RFC 6887 11.1: the same for renewals, another one for each port and machine."""
    nonces = {make_nonce(machine, port) for machine in ("a", "b") for port in PORTS}
    assert len(nonces) == 6
    assert make_nonce("a", WEB) == make_nonce("a", WEB)
    assert {len(nonce) for nonce in nonces} == {12}


def test_a_gateway_that_cannot_be_reached() -> None:
    with pytest.raises(Refused) as caught:
        datagram.Datagram("no-such-host.invalid")
    assert caught.value.cause is Cause.SILENT


# ---- UPnP


@pytest.fixture
def gateway() -> Iterator[IgdGateway]:
    with IgdGateway() as found:
        yield found


def test_igd_maps_renews_and_gives_back(gateway: IgdGateway) -> None:
    mapper = Igd("127.0.0.1", location=gateway.location)
    assert mapper.discover().epoch == 1000
    assert mapper.external_address() == OUTSIDE
    granted = [mapper.map(port, 3600) for port in PORTS]
    assert [(one.lease, one.listed) for one in granted] == [(3600, True)] * 3
    holders = mapper.holders(PORTS) or ()
    assert [(one.external, one.internal, one.description) for one in holders] == [
        (80, 8080, "Hearth 80"), (443, 8443, "Hearth 443"), (8448, 8448, "Hearth 8448"),
    ]  # fmt: skip
    mapper.unmap(WEB)
    assert set(gateway.table) == {80, 8448}
    mapper.close()


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (718, Cause.CONFLICT), (606, Cause.UNAUTHORIZED), (501, Cause.FAILED),
        (724, Cause.SAME_PORT), (402, Cause.UNNAMED), (401, Cause.UNSUPPORTED),
        (728, Cause.UNNAMED), (729, Cause.UNNAMED), (603, Cause.FULL),
    ],
)  # fmt: skip
def test_igd_error_codes(gateway: IgdGateway, code: int, cause: Cause) -> None:
    """728 and 729 have no text in the binding: the sentence covers both."""
    gateway.refuse["AddPortMapping"] = code
    mapper = Igd("127.0.0.1", location=gateway.location)
    assert refusal(mapper).cause is cause
    mapper.close()


def test_725_is_answered_with_a_mapping_for_good(gateway: IgdGateway) -> None:
    gateway.permanent_only = True
    mapper = Igd("127.0.0.1", location=gateway.location)
    assert mapper.map(WEB, 3600).lease == 0
    assert gateway.asked["AddPortMapping"] == 2
    assert gateway.table[443]["NewLeaseDuration"] == "0"
    mapper.close()


def held_by(client: str, description: str = "Hearth 443") -> dict[int, dict[str, str]]:
    return {443: {"NewInternalClient": client, "NewInternalPort": "8443", "NewEnabled": "1",
                  "NewPortMappingDescription": description, "NewLeaseDuration": "0"}}  # fmt: skip


def test_igd_never_steals(gateway: IgdGateway) -> None:
    """Not even from somebody who uses our words; the owner is told who it is."""
    gateway.table = held_by("192.0.2.50")
    mapper = Igd("127.0.0.1", location=gateway.location)
    error = refusal(mapper)
    assert error.cause is Cause.CONFLICT
    assert "192.0.2.50" in error.said
    mapper.unmap(WEB)
    assert gateway.table == held_by("192.0.2.50")
    assert not gateway.asked["DeletePortMapping"]
    mapper.close()


def test_igd_follows_our_own_move(gateway: IgdGateway) -> None:
    """nextcloudpi#476: the router still forwards to an address that we had before."""
    gateway.table = held_by("192.0.2.50")
    mapper = Igd("127.0.0.1", location=gateway.location, former=("192.0.2.50",))
    mapper.map(WEB, 3600)
    assert gateway.table[443]["NewInternalClient"] == "127.0.0.1"
    mapper.close()


def test_a_former_address_that_is_somebody_elses_now(gateway: IgdGateway) -> None:
    gateway.table = held_by("192.0.2.50", "a game")
    mapper = Igd("127.0.0.1", location=gateway.location, former=("192.0.2.50",))
    assert refusal(mapper).cause is Cause.CONFLICT
    mapper.close()


def test_igd_keeps_strangers_to_their_own(gateway: IgdGateway) -> None:
    """secure_mode: the router does not let us remove what leads to our former address."""
    gateway.table = held_by("192.0.2.50")
    gateway.refuse["DeletePortMapping"] = 606
    mapper = Igd("127.0.0.1", location=gateway.location, former=("192.0.2.50",))
    assert refusal(mapper).cause is Cause.OWN_OLD_ADDRESS
    mapper.close()


def test_a_router_that_maps_to_somewhere_else(gateway: IgdGateway) -> None:
    gateway.redirect = True
    mapper = Igd("127.0.0.1", location=gateway.location)
    assert refusal(mapper).cause is Cause.REWRITTEN
    assert gateway.table == {}  # 443 of ours is where the pages are: closed again at once
    mapper.close()


def test_a_router_without_a_table(gateway: IgdGateway) -> None:
    gateway.refuse["GetSpecificPortMappingEntry"] = 401
    mapper = Igd("127.0.0.1", location=gateway.location)
    granted = mapper.map(WEB, 3600)
    assert (granted.lease, granted.listed) == (3600, False)
    mapper.close()


def test_a_router_that_hangs(gateway: IgdGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child is ended, and the next call has a new one."""
    monkeypatch.setattr(igd, "CALL_SECONDS", 1.0)
    gateway.hang = threading.Event()
    mapper = Igd("127.0.0.1", location=gateway.location)
    begin = time.monotonic()
    with pytest.raises(Refused) as caught:
        mapper.external_address()
    assert caught.value.cause is Cause.SILENT
    assert time.monotonic() - begin < 8
    gateway.hang.set()
    gateway.hang = None
    assert mapper.external_address() == OUTSIDE
    mapper.close()


def test_a_gateway_that_is_not_the_router(gateway: IgdGateway) -> None:
    """Any machine of the home may call itself one; the router is where the kernel's routes lead."""
    mapper = Igd("127.0.0.2", location=gateway.location)
    with pytest.raises(Refused) as caught:
        mapper.discover()
    assert caught.value.cause is Cause.SILENT
    assert "127.0.0.1 answers" in caught.value.said
    assert refusal(mapper).cause is Cause.SILENT
    assert not gateway.asked, "nothing is told to it"
    mapper.close()


def test_an_answer_to_a_search() -> None:
    answer = b"HTTP/1.1 200 OK\r\nST: x\r\nlocation: http://192.0.2.1:5000/root.xml\r\n\r\n"
    assert parse_answer(answer) == "http://192.0.2.1:5000/root.xml"
    assert parse_answer(answer.replace(b"HTTP/1.1 200 OK", b"NOTIFY * HTTP/1.1")) == ""
    assert parse_answer(b"\xff\x00") == parse_answer(b"") == ""
    assert host_of(parse_answer(answer)) == "192.0.2.1"
    assert host_of("http://[192.0.2.1/") == host_of("root.xml") == ""


def test_a_line_at_a_former_address_with_other_words_stays(gateway: IgdGateway) -> None:
    """Closing takes no more than opening does: the address may be somebody else's by now."""
    gateway.table = held_by("192.0.2.50", "a game")
    mapper = Igd("127.0.0.1", location=gateway.location, former=("192.0.2.50",))
    mapper.unmap(WEB)
    assert gateway.table == held_by("192.0.2.50", "a game")
    gateway.table = held_by("192.0.2.50")
    mapper.unmap(WEB)
    assert gateway.table == {}
    mapper.close()


def test_a_description_that_is_a_web_page() -> None:
    with IgdGateway() as gateway:
        mapper = Igd(
            "127.0.0.1",
            location=gateway.location.replace("root.xml", "nothing").replace("127", "128"),
        )
        with pytest.raises(Refused):
            mapper.discover()
        mapper.close()


def test_every_cause_has_a_sentence_and_a_next_step() -> None:
    assert set(EXPLANATIONS) == set(Cause)
    for explanation in EXPLANATIONS.values():
        assert explanation.sentence.endswith(".")
        assert explanation.next_step
