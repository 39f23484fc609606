"""The smallest question, put to routers of each protocol: what of them is news, and what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from firstboot.router import RouterWatch
from services.portmap.igd import Igd
from services.portmap.mapper import PORTS, Mapper, Port
from services.portmap.natpmp import NatPmp
from services.portmap.pcp import Pcp
from services.portmap.place import Place
from services.portmap.pulse import SEARCH_PAUSE, SILENT_ASKS, Pulse
from unit.services.gateway_igd import IgdGateway
from unit.services.gateway_udp import UdpGateway

HERE = "127.0.0.1"
PLACE = Place(gateway=HERE, lan=HERE)
HTTPS = PORTS[1]


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def ways(udp: int, location: str) -> Callable[[str, Place], Mapper]:
    """The protocols' own mappers, at the ports of routers on the loopback."""

    def make(way: str, _place: Place) -> Mapper:
        match way:
            case "nat-pmp":
                return NatPmp(HERE, source=HERE, port=udp)
            case "pcp":
                return Pcp(HERE, machine_id="", source=HERE, port=udp)
            case _:
                return Igd(HERE, location=location)

    return make


def pulse_of(stack: ExitStack, clock: FakeClock, udp: int = 9, location: str = "") -> Pulse:
    nowhere = f"http://{HERE}:9/root.xml"
    pulse = Pulse(make=ways(udp, location or nowhere), clock=clock)
    stack.callback(pulse.close)
    pulse.move(PLACE)
    return pulse


@pytest.mark.parametrize(("versions", "asked"), [((0,), "address"), ((2,), "announce")])
def test_one_packet_each_time(
    stack: ExitStack, clock: FakeClock, versions: tuple[int, ...], asked: str
) -> None:
    """NAT-PMP or PCP, and nobody is asked for a protocol that is not spoken here but once."""
    gateway = stack.enter_context(UdpGateway(clock, versions=versions))
    pulse = pulse_of(stack, clock, udp=gateway.port)
    before = pulse.ask()
    assert before is not None
    for _ in range(100):
        clock.sleep(15)
        life = pulse.ask()
        assert life is not None
        assert before.goes_on_in(life)
        before = before.followed_by(life)
    assert gateway.asked[asked] == 101
    assert gateway.asked.total() - gateway.asked[asked] <= 1
    gateway.reboot()
    clock.sleep(15)
    life = pulse.ask()
    assert life is not None
    assert not before.goes_on_in(life)


def test_an_address_that_changes_under_upnp(stack: ExitStack, clock: FakeClock) -> None:
    gateway = stack.enter_context(IgdGateway())
    pulse = pulse_of(stack, clock, location=gateway.location)
    before = pulse.ask()
    assert before is not None
    gateway.uptime = 3  # which is nobody's business
    again = pulse.ask()
    assert again is not None
    assert before.goes_on_in(again)
    gateway.outside = "203.0.113.77"
    after = pulse.ask()
    assert after is not None
    assert not before.goes_on_in(after)
    assert gateway.asked["GetExternalIPAddress"] == 3
    assert set(gateway.asked) == {"GetExternalIPAddress", "GetSpecificPortMappingEntry"}


def test_a_table_that_is_lost_is_news_and_a_new_line_is_not(
    stack: ExitStack, clock: FakeClock
) -> None:
    gateway = stack.enter_context(IgdGateway())
    pulse = pulse_of(stack, clock, location=gateway.location)
    empty = pulse.ask()
    mapper = Igd(HERE, location=gateway.location)
    stack.callback(mapper.close)
    mapper.map(HTTPS, 3600)
    full = pulse.ask()
    assert empty is not None
    assert full is not None
    assert empty.goes_on_in(full)
    mapper.map(Port(external=9000, internal=9000), 3600)
    gateway.table.pop(HTTPS.external)
    lost = pulse.ask()
    assert lost is not None
    assert not full.goes_on_in(lost)


def test_a_silent_router_is_not_searched_for_all_the_time(
    stack: ExitStack, clock: FakeClock
) -> None:
    gateway = stack.enter_context(UdpGateway(clock))
    pulse = pulse_of(stack, clock, udp=gateway.port)
    assert pulse.ask() is not None
    gateway.versions = ()  # answers that it knows no version: as silent as one can be, but at once
    for _ in range(SILENT_ASKS):
        clock.sleep(15)
        assert pulse.ask() is None
    count = gateway.asked.total()
    for _ in range(int(SEARCH_PAUSE // 15) - 1):
        clock.sleep(15)
        assert pulse.ask() is None
    assert gateway.asked.total() == count
    gateway.versions = (0, 2)
    clock.sleep(30)
    assert pulse.ask() is not None


def test_a_router_without_a_line_is_still_the_router(stack: ExitStack, clock: FakeClock) -> None:
    """NAT-PMP result 3: asked again as always, and heard as soon as the line is back."""
    gateway = stack.enter_context(UdpGateway(clock, versions=(0,)))
    pulse = pulse_of(stack, clock, udp=gateway.port)
    before = pulse.ask()
    gateway.outside = ""
    for _ in range(3 * SILENT_ASKS):
        clock.sleep(15)
        assert pulse.ask() is None
    gateway.outside = "203.0.113.77"
    clock.sleep(15)
    after = pulse.ask()
    assert before is not None
    assert after is not None
    assert not before.goes_on_in(after)


def test_the_watch_calls_once_for_what_the_question_shows(
    stack: ExitStack, clock: FakeClock, tmp_path: Path
) -> None:
    """The resident's own loop, with a router that announces nothing."""
    gateway = stack.enter_context(IgdGateway())
    pulse = Pulse(make=ways(9, gateway.location), clock=clock)
    signal = tmp_path / "changed"
    watch = RouterWatch(signal, clock=clock, pulse=pulse, find=lambda: PLACE)
    stack.callback(watch.close)
    clock.sleep(1000)
    assert not watch.step(0.0)
    assert not watch.step(0.0)
    assert not signal.exists()
    gateway.outside = "203.0.113.77"
    assert watch.step(0.0)
    assert signal.exists()
    signal.unlink()
    assert not watch.step(0.0)
    assert not signal.exists()
