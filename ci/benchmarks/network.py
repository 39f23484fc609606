"""Addresses, ports and verdicts in the Internet in a box; the agent's rest; a week's requests."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from appliance.deadline import wait_until
from appliance.errors import PrivilegeError
from appliance.log import logger, progress
from appliance.settings import Ddns
from benchmarks.table import Row, publish
from imagebuild.context import make_context
from imagebuild.recipe import make_recipe
from services.ddns.providers import PROVIDERS
from unit.firstboot.week import Counts, open_week
from world.household import OWN, OWN_SECRET, Household, cpu_of, memory_of, tree_of
from world.internet.ddns_endpoints import NAMES, SECRET
from world.internet.options import VARIANTS, RouterOptions
from world.internet.places import LINE_ADDRESS_AFTER
from world.internet.world import World

PARTS = ("address", "reboot", "verdict", "rest", "week")
DUCKDNS = Ddns(provider="duckdns", name=NAMES["duckdns"])
# One router of each protocol that announces itself, and one that does not.
ROUTERS = ("igd1", "natpmp-only", "pcp-only", "igd1-quiet", "natpmp-quiet", "pcp-quiet")
LONGEST = 180.0
REST_SECONDS = 120
SETTLE_SECONDS = 20
MUST_MB, MUST_PERCENT = 40.0, 0.5


def measure(parts: tuple[str, ...]) -> None:
    if os.geteuid() != 0:
        raise PrivilegeError("the Internet in a box needs root", hint="sudo ci/bench network")
    measures: dict[str, Callable[[Path], list[Row]]] = {
        "address": measure_addresses,
        "reboot": measure_reboots,
        "verdict": measure_verdicts,
        "rest": measure_rest,
        "week": measure_week,
    }
    directory = make_context(make_recipe("hearth")).build / "bench"
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="hearth-bench-") as place:
        for part in parts:
            rows += measures[part](Path(place))
            publish("network", rows, directory)


@contextmanager
def home(place: Path, options: RouterOptions, ddns: Ddns, secret: str) -> Iterator[Household]:
    """A world with a household whose ports are open and whose name leads home."""
    state = place / "world"
    shutil.rmtree(state, ignore_errors=True)
    with World(state, options) as world:
        house = Household(world, ddns, secret)
        house.start()
        try:
            yield house
        finally:
            house.stop()


def measure_addresses(place: Path) -> list[Row]:
    """From the line's new address to the authoritative server's answer."""
    accounts = [(name, OWN, OWN_SECRET) for name in ROUTERS]
    rows = []
    for variant, ddns, secret in [*accounts, ("igd1", DUCKDNS, SECRET)]:
        with home(place, VARIANTS[variant], ddns, secret) as house:
            settle(house)
            if ddns is DUCKDNS:
                house.forget_interval(600)
            with progress(f"New address, router {variant}, {ddns.provider}"):
                begin = monotonic()
                house.world.change_address(LINE_ADDRESS_AFTER)
                wait_until(house.is_followed, seconds=LONGEST, what="the new address", every=0.1)
                seconds = monotonic() - begin
        figure = f"WAN address to authoritative DNS, {variant}, {ddns.provider}"
        rows.append(Row(figure=figure, value=seconds, unit="s", must=60, aim=20))
    return rows


def measure_reboots(place: Path) -> list[Row]:
    """From the router's power switch to rules for all ports."""
    rows = []
    for variant in ROUTERS:
        with home(place, VARIANTS[variant], OWN, OWN_SECRET) as house:
            settle(house)
            with progress(f"Router {variant} reboots"):
                house.world.power_off()
                begin = monotonic()
                house.world.power_on()
                wait_until(house.is_mapped, seconds=LONGEST, what="the ports", every=0.1)
                seconds = monotonic() - begin
        figure = f"router's power-on to ports mapped again, {variant}"
        rows.append(Row(figure=figure, value=seconds, unit="s", must=90, aim=30))
    return rows


def settle(house: Household) -> None:
    """Let the watch ask its first question, and the router count some seconds.

    A second start within a router's first seconds cannot be told from the first (RFC 6887, 8.5).
    """
    end = monotonic() + SETTLE_SECONDS
    wait_until(lambda: monotonic() > end, seconds=SETTLE_SECONDS + 1, what="some rest")
    assert house.is_mapped()


def measure_verdicts(place: Path) -> list[Row]:
    """The wizard's "check my network" behind every kind of router, and on a dead line."""
    found: dict[str, float] = {}
    for variant, options in VARIANTS.items():
        with bare(place, options) as house, progress(f"Verdict, router {variant}"):
            found[variant] = time_verdict(house)
            if variant == "plain":
                house.world.fail_line()
                found["dead line"] = time_verdict(house)
    for variant, seconds in sorted(found.items(), key=lambda item: -item[1]):
        logger.info("  %-16s %.1f s", variant, seconds)
    worst = max(found, key=lambda variant: found[variant])
    # Its name is in the lines above: a row that is called otherwise would be another figure.
    figure = f"check my network, worst of {len(found)} lines and routers"
    return [Row(figure=figure, value=found[worst], unit="s", must=10)]


@contextmanager
def bare(place: Path, options: RouterOptions) -> Iterator[Household]:
    """A household in which nothing runs."""
    state = place / "world"
    shutil.rmtree(state, ignore_errors=True)
    with World(state, options) as world:
        yield Household(world, OWN, OWN_SECRET)


def time_verdict(house: Household) -> float:
    begin = monotonic()
    said = house.run("network", "check", "--json")
    seconds = monotonic() - begin
    logger.info("  %s", json.loads(said)["finding"]["verdict"])
    return seconds


def measure_rest(place: Path) -> list[Row]:
    """The two that stay: the agent, and the router's watch with each kind of question."""
    rows: list[Row] = []
    for variant in ("igd1-quiet", "natpmp-quiet"):
        with home(place, VARIANTS[variant], OWN, OWN_SECRET) as house:
            names = {"router-watch": f"hearth-router, router {variant}"}
            if variant == "igd1-quiet":
                names["agent"] = "hearth-agent"
                house.world.lan.start("agent", house.argv("agent"))
                wait_until(
                    lambda house=house: (house.root / "run/hearth/agent.sock").exists(),
                    seconds=60, what="the agent's socket",
                )  # fmt: skip
            settle(house)
            for daemon, title in names.items():
                rows += rest_of(house, daemon, title)
    return rows


def rest_of(house: Household, daemon: str, title: str) -> list[Row]:
    pids = tree_of(house.world.lan.pid_of(daemon))
    before, begin = cpu_of(pids), monotonic()
    with progress(f"{title} at rest"):
        end = begin + REST_SECONDS
        wait_until(lambda: monotonic() > end, seconds=REST_SECONDS + 1, what="two minutes")
    percent = 100 * (cpu_of(pids) - before) / (monotonic() - begin)
    return [
        Row(figure=f"{title} at rest (PSS, amd64)", value=memory_of(pids), unit="MB",
            must=MUST_MB),
        Row(figure=f"{title} at rest (of a core, amd64)", value=percent, unit="%",
            must=MUST_PERCENT),
    ]  # fmt: skip


def measure_week(place: Path) -> list[Row]:
    """Simulated, at every provider; what was asked is told, and what of it was too much counts."""
    weeks: list[Counts] = []
    for provider in PROVIDERS:
        root = place / provider.id
        with progress(f"A week at {provider.title}"), open_week(provider, root) as week:
            # The jobs' own words, thousands of times.
            logger.setLevel(logging.CRITICAL)
            try:
                counts = week.live()
            finally:
                logger.setLevel(logging.INFO)
        logger.info("  %s", counts)
        weeks.append(counts)
    too_many = sum(len(week.breaches) for week in weeks)
    figure = f"requests beyond a contract, a simulated week at {len(weeks)} providers"
    total = sum(week.to_provider + week.to_router + week.to_echoes for week in weeks)
    return [
        Row(figure=figure, value=too_many, unit="", must=0),
        Row(figure="  of this many requests", value=total, unit=""),
    ]
