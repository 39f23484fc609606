"""A week of the jobs for the world, on a clock that nobody waits for, against whoever counts.

The jobs are the appliance's own, with their files: firstboot.portmap and firstboot.ddns, and the
plan and the dns-01 of certificates. Around them are a router, a provider, two echo services, a name
server and an authority on the loopback (counting.py); ``Week.breaches`` is what they noted. What
happens is thrown by dice whose seed is the provider's name.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import dns.resolver

from appliance.errors import NetworkError
from appliance.settings import Ddns, Public, Reach, Secrets, Way, load_settings, save_toml
from firstboot import ddns as ddns_job
from firstboot import portmap as portmap_job
from services.acme.contract import DAY
from services.ddns.client import Client
from services.ddns.provider import Protocol, Provider, SubNames, Txt
from services.ddns.result import DdnsResult, make_client
from services.ddns.verify import Authorities, find_authorities
from services.portmap.mapper import Mapper
from services.portmap.natpmp import NatPmp
from services.portmap.pcp import Pcp
from services.portmap.place import Place
from services.results import load_result
from unit.firstboot.counting import CountedAuthority, CountedGateway, CountedZone, Echoes
from unit.firstboot.weekcert import look_after_certificate
from unit.firstboot.weekclock import START, Clock, TrueClock
from unit.services.appliance_files import SECRETS, RecordedUnits, make_appliance
from unit.services.ddns.bench import at_endpoint
from unit.services.ddns.nameserver import KEY_NAME, KEY_SECRET, serve_zone
from world.internet.ddns_endpoints import NAMES, SECRET, USER, serve
from world.internet.ddns_ledger import Entry, Ledger

HERE = "127.0.0.1"
NOWHERE = "http://127.0.0.1:9"
STEP = 300.0  # hearth-portmap.timer and hearth-ddns.timer
CALM = DAY / 4  # the longest pause after a provider's trouble is four hours
ACME_STEPS = 3  # hearth-acme.timer: 15 minutes
RFC2136_NAME = "home.example.org"
# In this order providers meet routers of each kind.
VERSIONS = ((0,), (2,), (0, 2))


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What was asked in the week, and what of it was too much."""

    provider: str
    updates: int
    to_provider: int
    to_router: int
    to_echoes: int
    orders: int
    breaches: tuple[str, ...]
    is_correct: bool


class Week:
    """``live`` is a week and some calm hours after it, in which everything is to come right."""

    def __init__(self, provider: Provider, root: Path, stack: ExitStack) -> None:
        self.provider = provider
        self.dice = random.Random(provider.id)
        self.clock = Clock()
        self.now = TrueClock(self.clock)
        self.boots = 1
        self.is_online = True
        self.wan = "203.0.113.10"
        self.owner_acts_at = self.catches_up_at = 0.0
        self.paths = make_appliance(root)
        self.name = NAMES.get(provider.id, RFC2136_NAME)
        self._open(stack)
        self.choose(self.secret)

    def _open(self, stack: ExitStack) -> None:
        zone = ".".join(self.name.split(".")[-2:])
        self.zone = CountedZone(zone, self.now, min_interval=self.provider.min_interval)
        interval = self.provider.min_interval if self.provider.id != "cloudflare" else 0.0
        self.ledger = Ledger(
            user=USER, secret=SECRET, names={self.name: Entry()}, now=self.now,
            min_interval=interval, publish=self.zone.publish,
        )  # fmt: skip
        self.port = stack.enter_context(serve_zone(self.zone))
        if self.is_ddns_by_dns:
            self.url = ""
        else:
            self.url = stack.enter_context(serve(self.provider.id, self.ledger)).url
        versions = VERSIONS[sorted([*NAMES, "rfc2136"]).index(self.provider.id) % len(VERSIONS)]
        self.router = stack.enter_context(CountedGateway(self.now, versions=versions))
        self.router.outside = self.wan
        self.echoes = Echoes(self.now, self.wan)
        os.environ["HEARTH_ECHO_IPV4"] = stack.enter_context(self.echoes.serve())
        stack.callback(os.environ.pop, "HEARTH_ECHO_IPV4")
        self.authority = CountedAuthority(self.now)

    @property
    def is_ddns_by_dns(self) -> bool:
        return self.provider.protocol is Protocol.RFC2136

    @property
    def secret(self) -> str:
        return KEY_SECRET if self.is_ddns_by_dns else SECRET

    def choose(self, secret: str) -> None:
        """The owner types an account; who can prove names by DNS has another port than 443."""
        settings = load_settings(self.paths.settings)
        assert settings is not None
        needs_user = self.provider.username is not None or self.provider.id == "he"
        ddns = Ddns(provider=self.provider.id, name=self.name, username=USER if needs_user else "")
        if self.is_ddns_by_dns:
            ddns = replace(ddns, username=KEY_NAME, endpoint=f"{HERE}:{self.port}")
        by_dns = self.provider.txt is not Txt.NONE
        way, port = (Way.PORT, 8443) if by_dns else (Way.PORTS, 443)
        made = self.provider.sub_names is SubNames.MADE
        public = Public(way=way, port=port, ddns=ddns, sub_names=made)
        server = replace(settings.server, name=self.name, reach=Reach.PUBLIC)
        save_toml(replace(settings, server=server, public=public), self.paths.settings, mode=0o640)
        save_toml(replace(SECRETS, ddns_secret=secret), self.paths.secrets, mode=0o600)

    # ---- the week

    def live(self, days: float = 7, *, pace: float = 1) -> Counts:
        """``pace``: so many times as much happens in a day."""
        steps = int(days * DAY / STEP)
        for step in range(steps):
            self.happen(pace)
            self.work(step)
            self.clock.sleep(STEP)
        self.calm()
        for step in range(int(CALM / STEP)):
            self.work(step)
            self.clock.sleep(STEP)
        return self.count()

    def happen(self, pace: float) -> None:
        """In a week about 24 new addresses, 10 restarts of ours, 10 of the router, and so on."""
        self.clock.behind = 0.0
        events = {
            0.012: lambda: self.get_address(f"203.0.113.{self.dice.randrange(2, 250)}"),
            0.005: self.restart_router,
            0.0051: self.restart,
            0.004: lambda: self.set_online(online=not self.is_online),
            0.006: lambda: self.set_weather(self.dice.choice(self.weathers())),
            0.010: lambda: self.set_weather("fine"),
            0.0041: self.lag,
            0.0042: self.change_room,
            0.002: self.mistype,
        }
        dice = self.dice.random()
        for share, event in events.items():
            dice -= share * pace
            if dice < 0:
                event()
                break
        if self.now() >= self.catches_up_at:
            self.zone.catch_up()
        if self.owner_acts_at and self.now() >= self.owner_acts_at:
            self.mend()

    def change_room(self) -> None:
        """The router's table is full, or not any more."""
        self.router.room = 0 if self.router.room else 100

    def lag(self) -> None:
        """The provider's name servers lag behind it, but for less than what counts as wrong."""
        if not self.is_ddns_by_dns:  # the owner's own one takes the updates itself
            self.zone.lag()
            self.catches_up_at = self.now() + self.dice.uniform(300, 2700)

    def weathers(self) -> tuple[str, ...]:
        if self.is_ddns_by_dns:
            return ("servfail", "servfail", "servfail", "refused")
        common = ("html", "500", "429", "hang-up") * 2
        if self.provider.protocol is Protocol.DYNDNS2:
            return (*common, "911", "911", "dnserr", "abuse", "!donator")
        return common

    def set_weather(self, mode: str) -> None:
        if self.ledger.refusals or self.zone.is_refusing:
            return  # it stays so until the owner acts
        if self.is_ddns_by_dns:
            self.zone.mode = mode
        else:
            self.ledger.mode = mode

    def get_address(self, address: str) -> None:
        """A forced reconnection; the router begins to count anew (RFC 6887 8.5)."""
        self.wan = address
        self.set_online(online=True)
        self.restart_router()

    def restart_router(self) -> None:
        self.router.reboot()
        if self.dice.random() < 0.5:  # hearth-router has heard it
            self.paths.router_news.parent.mkdir(parents=True, exist_ok=True)
            self.paths.router_news.touch()

    def set_online(self, *, online: bool) -> None:
        self.is_online = self.echoes.is_reachable = online
        self.echoes.address = self.wan
        self.router.outside = self.wan if online else "0.0.0.0"

    def restart(self) -> None:
        """Off for a while; the clock goes on from where it was saved, up to a minute before."""
        off = self.dice.uniform(60, 3600)
        self.clock.behind = off + self.dice.uniform(0, 60)
        self.clock.sleep(off)
        self.clock.booted = self.clock.true - 30
        self.boots += 1
        self.router.forget()  # what it has granted us, we do not know any more

    def mistype(self) -> None:
        """Another account, which is wrong; to the provider the owner has acted."""
        self.ledger.forgive()
        self.zone.is_refusing = False
        self.choose("d3Jvbmc=")

    def mend(self) -> None:
        """The owner reads what is wrong, types the right token, and settles it at the provider."""
        self.owner_acts_at = 0.0
        self.ledger.forgive()
        self.zone.forgive()
        self.ledger.mode = "fine"
        self.choose(self.secret)
        self.follow(again=True)

    def calm(self) -> None:
        self.clock.behind = 0.0
        self.zone.catch_up()
        self.router.room = 100
        self.set_online(online=True)
        self.mend()

    # ---- what runs on the appliance

    def work(self, step: int) -> None:
        units = RecordedUnits()
        portmap_job.keep_ports(self.paths, units, world=self.port_world())
        if units.acts:  # systemd does so at once
            self.follow()
        result = self.follow()
        if step % ACME_STEPS == 0 and not self.clock.behind:
            look_after_certificate(self)
        if result.contract.stop is not None and not self.owner_acts_at:
            self.owner_acts_at = self.now() + self.dice.uniform(3600, 12 * 3600)

    def port_world(self) -> portmap_job.World:
        return portmap_job.World(
            clock=self.clock,
            boot_id=lambda: str(self.boots),
            place=lambda: Place(gateway=HERE, lan=HERE, interface="lo"),
            ways=lambda _place, **_: {"pcp": self._pcp, "nat-pmp": self._natpmp},
            ways6=lambda _place: {},
            redirect=lambda **_: None,
        )

    def _pcp(self) -> Mapper:
        return Pcp(HERE, machine_id="0123", source=HERE, port=self.router.port)

    def _natpmp(self) -> Mapper:
        return NatPmp(HERE, source=HERE, port=self.router.port)

    def follow(self, *, again: bool = False) -> DdnsResult:
        world = ddns_job.World(clock=self.clock, client=self.client, authorities=self.authorities)
        result = ddns_job.follow_address(self.paths, world, again=again)
        assert result is not None
        return result

    def client(self, ddns: Ddns, secrets: Secrets) -> Client:
        client = make_client(ddns, secrets)
        if not self.is_ddns_by_dns:
            return at_endpoint(client, self.url if self.is_online else NOWHERE)
        if self.is_online:
            return client
        return Client(
            provider=client.provider, account=replace(client.account, endpoint=f"{HERE}:9")
        )

    def authorities(self, name: str) -> Authorities:
        if not self.is_online:
            raise NetworkError("no way to the name servers")
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = [HERE], self.port
        return find_authorities(name, resolver=resolver, port=self.port)

    # ---- afterwards

    def count(self) -> Counts:
        runs = self.clock.true - START
        looks = self.router.asked["address"] + self.router.asked["announce"]
        breaches = [*self.router.breaches, *self.ledger.breaches, *self.echoes.breaches,
                    *self.zone.breaches, *self.authority.breaches]  # fmt: skip
        # Once a run; and where a router speaks both, a search asks for both.
        if looks > 2 * runs / STEP:
            breaches.append(f"the router was looked at {looks} times in {runs / STEP:.0f} runs")
        result = load_result(self.paths, "ddns", DdnsResult)
        return Counts(
            provider=self.provider.id,
            updates=self.zone.updates if self.is_ddns_by_dns else len(self.ledger.updates),
            to_provider=self.zone.updates if self.is_ddns_by_dns else len(self.ledger.requests),
            to_router=self.router.asked.total(),
            to_echoes=sum(map(len, self.echoes.asked.values())),
            orders=len(self.authority.orders),
            breaches=tuple(breaches),
            is_correct=result is not None
            and result.is_correct is True
            and self.zone.records.get((self.name, "A")) == (self.wan,),
        )


@contextmanager
def open_week(provider: Provider, root: Path) -> Iterator[Week]:
    with ExitStack() as stack:
        yield Week(provider, root, stack)
