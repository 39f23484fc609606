"""When the router is asked for what: a simulated week with real packets, and single decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from services.portmap.causes import Cause, Refused
from services.portmap.contract import (
    LONGEST_PAUSE,
    Facts,
    Held,
    Look,
    State,
    Step,
    explain_low_ports,
    is_restarted,
    mapped,
    plan,
)
from services.portmap.igd import Igd
from services.portmap.keeper import Keeper
from services.portmap.mapper import PORTS, Entry, Granted, Mapper, Port
from services.portmap.natpmp import NatPmp
from services.portmap.pcp import Pcp
from unit.services.gateway_igd import IgdGateway
from unit.services.gateway_udp import UdpGateway

HERE = "127.0.0.1"
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
POLL = 5 * MINUTE  # hearth-portmap.timer
FACTS = Facts(boot="b1", lan=HERE, gateway=HERE, wanted=PORTS)


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


def natpmp(gateway: UdpGateway) -> Callable[[], Mapper]:
    return lambda: NatPmp(HERE, source=HERE, port=gateway.port)


def pcp(gateway: UdpGateway) -> Callable[[], Mapper]:
    return lambda: Pcp(HERE, machine_id="0123", source=HERE, port=gateway.port)


def test_a_week(clock: FakeClock) -> None:
    """Always open; one look a run, each port renewed at half time, and nothing more."""
    with UdpGateway(clock, versions=(0,)) as gateway:
        keeper = Keeper({"nat-pmp": natpmp(gateway)}, clock)
        state = State()
        runs = int(7 * DAY / POLL)
        for _ in range(runs):
            state = keeper.run(state, FACTS)
            assert set(gateway.open_ports()) == {80, 443, 8448}
            clock.sleep(POLL)
        assert gateway.asked["address"] == runs
        half_times = 7 * DAY / (HOUR / 2)
        assert gateway.asked["map"] <= 3 * (half_times + 1)
        assert set(gateway.asked) == {"address", "map"}
        assert state.requests == gateway.asked.total()


def test_a_week_with_a_router_that_refuses(clock: FakeClock) -> None:
    """The pauses grow to an hour: 7 times 24 tries, and a few at the beginning."""
    with UdpGateway(clock, versions=(0,), room=0) as gateway:
        keeper = Keeper({"nat-pmp": natpmp(gateway)}, clock)
        state = State()
        for _ in range(int(7 * DAY / POLL)):
            state = keeper.run(state, FACTS)
            clock.sleep(POLL)
        tries = 7 * DAY / LONGEST_PAUSE + 6
        assert gateway.asked["address"] <= tries
        assert gateway.asked["map"] <= 3 * tries
        assert {one.cause for one in state.problems} == {Cause.FULL}


def test_a_week_with_reboots_and_moves(clock: FakeClock) -> None:
    """A router that restarts every seven hours, with us at a new address once: one run mends it."""
    with UdpGateway(clock) as gateway:
        keeper = Keeper({"pcp": pcp(gateway)}, clock)
        state, reboots = State(), 0
        for run in range(int(7 * DAY / POLL)):
            if run % 84 == 83:
                gateway.reboot()
                reboots += 1
            state = keeper.run(state, FACTS)
            assert set(gateway.open_ports()) == {80, 443, 8448}
            clock.sleep(POLL)
        assert reboots == 24
        assert gateway.asked["map"] <= 3 * (7 * DAY / (HOUR / 2) + reboots + 1)


def test_a_week_by_upnp(clock: FakeClock) -> None:
    """The same by plan alone: calls to the binding are counted in the protocol's own tests."""
    state = State(protocol="igd", boot="b1", lan=HERE, gateway=HERE)
    for port in PORTS:
        state = mapped(state, port, Granted(lease=3600, listed=True), clock.now)
    mappings = 0
    for run in range(int(7 * DAY / POLL)):
        entries = tuple(
            Entry(external=one.port.external, client=HERE, internal=one.port.internal)
            for one in state.held
        )
        # An uptime that some routers invent must not cause a single mapping.
        look = Look(epoch=run % 2, entries=entries)
        step = plan(state, replace(FACTS, look=look), clock.now)
        for port in step.ports:
            state = mapped(state, port, Granted(lease=3600, listed=True), clock.now)
            mappings += 1
        clock.sleep(POLL)
    assert mappings == 3 * (7 * DAY / (HOUR / 2) - 1)


def test_a_mapping_for_good_is_made_once(clock: FakeClock) -> None:
    with IgdGateway(permanent_only=True) as gateway:

        def make() -> Mapper:
            return Igd(HERE, location=gateway.location)

        keeper = Keeper({"igd": make}, clock)
        state = State()
        for _ in range(6):
            state = keeper.run(state, FACTS)
            clock.sleep(HOUR / 2)
        assert {one.lease for one in state.held} == {0}
        assert gateway.asked["AddPortMapping"] == 2 * 3  # each asked with a lease first
        state = keeper.release(state)
        assert gateway.table == {}
        assert (state.held, state.left) == ((), ())


def test_what_is_open_for_good_is_not_forgotten(clock: FakeClock) -> None:
    """The router refuses one, is silent for hours, and then somebody chooses the home only."""
    with IgdGateway(permanent_only=True) as gateway:
        keeper = Keeper({"igd": lambda: Igd(HERE, location=gateway.location)}, clock)
        state = keeper.run(State(), FACTS)
        gateway.refuse["DeletePortMapping"] = 606
        refused = keeper.release(state)
        assert set(refused.left) == set(PORTS)
        assert gateway.asked["DeletePortMapping"] == len(PORTS), "one refusal is not all of them"
        for _ in range(5):
            clock.sleep(HOUR)
            state = Keeper({"igd": nobody}, clock).run(state, FACTS)
        assert (state.held, state.protocol) == ((), "")
        away = Keeper({"igd": nobody}, clock).release(state)
        assert set(away.left) == set(PORTS)
        gateway.refuse.clear()
        # Another boot of ours; the address is the same.
        moved = keeper.run(away, replace(FACTS, boot="b2", wanted=()))
        assert keeper.release(moved).left == ()
        assert gateway.table == {}


def nobody() -> Mapper:
    return Igd(HERE, location=f"http://{HERE}:9/root.xml")


def test_only_what_is_not_wanted_any_more_is_given_back(clock: FakeClock) -> None:
    with IgdGateway(permanent_only=True) as gateway:
        keeper = Keeper({"igd": lambda: Igd(HERE, location=gateway.location)}, clock)
        state = keeper.release(keeper.run(State(), FACTS), keep=PORTS[1:2])
        assert set(gateway.table) == {PORTS[1].external}
        assert [one.port for one in state.held] == [*state.left] == [PORTS[1]]
        gateway.permanent_only = False
        state = mapped(state, PORTS[1], Granted(lease=3600), clock.now)
        assert state.left == (), "it ends by itself now"


def test_after_a_silence_every_way_is_asked_to_close(clock: FakeClock) -> None:
    with UdpGateway(clock) as gateway:
        keeper = Keeper({"pcp": pcp(gateway), "igd": nobody}, clock)
        state = replace(keeper.run(State(), FACTS), protocol="")
        assert keeper.release(state).held == ()
        assert gateway.open_ports() == {}


def test_a_silent_router_is_searched_for_until_it_is_back(clock: FakeClock) -> None:
    """Off for ten minutes in the night; what it had granted is asked for again at once."""
    with UdpGateway(clock) as gateway:
        keeper = Keeper({"pcp": pcp(gateway)}, clock)
        state = keeper.run(State(), FACTS)
        port = gateway.port
    gone = Keeper({"pcp": lambda: Pcp(HERE, machine_id="0123", source=HERE, port=port)}, clock)
    for _ in range(2):
        clock.sleep(POLL)
        state = gone.run(state, FACTS)
        assert {one.cause for one in state.problems} == {Cause.SILENT}
    with UdpGateway(clock) as gateway:
        state = Keeper({"pcp": pcp(gateway)}, clock).run(state, FACTS)
        assert set(gateway.open_ports()) == {80, 443, 8448}
        assert not state.problems


def test_a_new_address_without_a_new_count_of_seconds(clock: FakeClock) -> None:
    """PCP alone would show it at the next renewal; who was called by hearth-router asks at once."""
    with UdpGateway(clock) as gateway:
        keeper = Keeper({"pcp": pcp(gateway), "nat-pmp": natpmp(gateway)}, clock)
        state = keeper.run(State(), FACTS)
        gateway.outside = "203.0.113.77"
        clock.sleep(POLL)
        state = keeper.run(state, FACTS)
        assert state.address != gateway.outside
        before = gateway.asked.copy()
        state = keeper.run(state, replace(FACTS, urgent=True))
        assert (state.address, state.protocol) == (gateway.outside, "pcp")
        assert gateway.asked - before == {"announce": 1, "address": 1}
        assert set(gateway.open_ports()) == {80, 443, 8448}


def test_the_order_is_pcp_natpmp_igd(clock: FakeClock) -> None:
    """And what the best refuses, the next is asked for."""
    with UdpGateway(clock, room=0) as full, IgdGateway() as igd:
        ways = {"pcp": pcp(full), "nat-pmp": natpmp(full),
                "igd": lambda: Igd(HERE, location=igd.location)}  # fmt: skip
        state = Keeper(ways, clock).run(State(), FACTS)
        assert state.protocol == "igd"
        assert set(igd.table) == {80, 443, 8448}


# ---- single decisions


def held(clock: FakeClock, *, listed: bool = False, lease: int = 3600) -> State:
    ports = tuple(Held(port=port, lease=lease, renewed=clock.now, listed=listed) for port in PORTS)
    return State(protocol="pcp", boot="b1", lan=HERE, gateway=HERE, epoch=500, seen=clock.now,
                 held=ports)  # fmt: skip


def decide(state: State, clock: FakeClock, look: Look | None, **changes: object) -> Step:
    return plan(state, replace(FACTS, look=look, **changes), clock.now).step  # type: ignore[arg-type]


def test_nothing_is_asked_without_a_router(clock: FakeClock) -> None:
    assert decide(State(), clock, None, gateway="") is Step.REST


def test_a_new_place_is_a_new_search(clock: FakeClock) -> None:
    state = held(clock)
    assert decide(state, clock, None) is Step.LOOK
    assert decide(state, clock, None, lan="192.0.2.9") is Step.SEARCH
    assert decide(state, clock, None, gateway="192.0.2.254") is Step.SEARCH
    assert decide(state, clock, None, boot="b2") is Step.SEARCH


@pytest.mark.parametrize(
    ("seconds", "epoch", "restarted"),
    [
        (300, 800, False), (300, 790, False), (300, 12, True), (300, 499, True), (300, 498, True),
        (300, 1200, True), (300, 520, True), (0, 500, False), (3600, 4100, False),
        (3600, 3900, False), (3600, 3000, True),
    ],
)  # fmt: skip
def test_the_routers_seconds(clock: FakeClock, seconds: float, epoch: int, restarted: bool) -> None:
    """RFC 6887 section 8.5: they must go on as ours do, to within a sixteenth and two seconds."""
    state = held(clock)
    clock.sleep(seconds)
    assert is_restarted(state, Look(heard=clock.now, epoch=epoch)) is restarted


def test_a_pause_ends_when_the_owner_asks(clock: FakeClock) -> None:
    state = replace(held(clock), held=(), retry=clock.now + 100, failures=3)
    assert decide(state, clock, None) is Step.REST
    assert decide(state, clock, None, urgent=True) is Step.LOOK


def test_what_the_table_has_lost(clock: FakeClock) -> None:
    """Also when the line is there, but leads to somebody else."""
    state = held(clock, listed=True)
    good = [Entry(external=p.external, client=HERE, internal=p.internal) for p in PORTS]
    other = replace(good[1], client="192.0.2.66")
    step = plan(state, replace(FACTS, look=Look(entries=(good[0], other, good[2]))), clock.now)
    assert step.ports == (PORTS[1],)


def test_forbidden_low_ports_are_told_from_taken_ones(clock: FakeClock) -> None:
    state = mapped(State(), PORTS[2], Granted(lease=3600), clock.now)
    for port in PORTS[:2]:
        state = mapped(state, port, Refused(Cause.CONFLICT, "PCP result 11"), clock.now)
    assert {one.cause for one in explain_low_ports(state).problems} == {Cause.LOW_PORT}
    named = mapped(
        state, PORTS[0], Refused(Cause.CONFLICT, "port 80 belongs to 192.0.2.9"), clock.now
    )
    assert {one.cause for one in explain_low_ports(named).problems} == {Cause.CONFLICT}


def test_a_router_is_not_asked_before_it_wants_to_be(clock: FakeClock) -> None:
    """RFC 6887 section 7.2: the lifetime of a refusal."""
    refused = Refused(Cause.FULL, retry_seconds=1800)
    state = mapped(State(), Port(external=1, internal=1), refused, clock.now)
    assert state.retry == clock.now + 1800
    refused = Refused(Cause.FULL, retry_seconds=0xFFFFFFFF)
    state = mapped(State(), Port(external=1, internal=1), refused, clock.now)
    assert state.retry == clock.now + LONGEST_PAUSE, "not for a hundred years"
