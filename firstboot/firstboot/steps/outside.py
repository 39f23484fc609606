"""For a server that the world can reach: ports, name, certificate, and that they stay.

What is outside may not be ready: a router that opens nothing, a name server that takes its time.
Setup ends all the same, with a server that works at home, and the timers of hearth-public.target
go on trying. The order matters: an authority that finds the name or the port missing counts it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from appliance.answers import Judgement, Outside
from appliance.deadline import wait_until
from appliance.errors import DeadlineError, HearthError
from appliance.log import logger
from appliance.settings import Way
from firstboot.outside import certificate_fact, name_fact, tunnel_fact, way_fact
from firstboot.steps.context import Context, NotYetError
from services.tunnel.place import UNIT as TUNNEL

TARGET = "hearth-public.target"
# Hands are shaken within a second; finding out why they are not takes longer.
TUNNEL_SECONDS = 30.0


@dataclass(frozen=True)
class OpenPorts:
    name: str = "public-ports"
    title: str = "Asking your router to let the world in"

    def is_done(self, context: Context) -> bool:
        """Nothing to open for a server that only the home network reaches."""
        public = context.settings.public
        return public is None or public.way is Way.HOME

    def apply(self, context: Context) -> None:
        settings = context.settings
        _run_job(context, "hearth-portmap.service", lambda: way_fact(context.paths, settings))


@dataclass(frozen=True)
class StartTunnel:
    """In place of OpenPorts, where the world comes in through a rented server."""

    name: str = "public-tunnel"
    title: str = "Connecting with your rented server"

    def is_done(self, context: Context) -> bool:
        """The last word of a keeper that was stopped stays readable, and may be a good one."""
        is_kept = context.units.is_active(TUNNEL)
        return is_kept and tunnel_fact(context.paths).judgement is Judgement.GOOD

    def apply(self, context: Context) -> None:
        context.report("Waiting for the rented server's answer")
        _run_job(context, TUNNEL, lambda: _settled_tunnel(context))


def _settled_tunnel(context: Context) -> Outside:
    def settled() -> bool:
        return tunnel_fact(context.paths).judgement is not Judgement.UNSURE

    try:
        wait_until(settled, seconds=TUNNEL_SECONDS, what="an answer of the rented server")
    except DeadlineError as error:
        logger.info("%s", error.message)
    return tunnel_fact(context.paths)


@dataclass(frozen=True)
class PublishName:
    name: str = "public-name"
    title: str = "Making the name lead here"

    def is_done(self, context: Context) -> bool:
        """Nothing to do where the owner's own DNS leads here."""
        public = context.settings.public
        return public is None or public.ddns is None

    def apply(self, context: Context) -> None:
        public = context.settings.public
        assert public is not None
        assert public.ddns is not None
        name = public.ddns.name
        context.report(f"Telling the provider of {name} where to find it")
        _run_job(context, "hearth-ddns.service", lambda: name_fact(context.paths, name))


@dataclass(frozen=True)
class GetCertificate:
    name: str = "public-certificate"
    title: str = "Getting a certificate that every phone trusts"

    def is_done(self, context: Context) -> bool:
        return certificate_fact(context.paths, context.settings).judgement is Judgement.GOOD

    def apply(self, context: Context) -> None:
        public = context.settings.public
        before = [way_fact(context.paths, context.settings)]
        if public is not None and public.ddns is not None:
            before.append(name_fact(context.paths, public.ddns.name))
        if any(fact.judgement is Judgement.BAD for fact in before):
            message = "It is asked for as soon as the world can reach this server."
            raise NotYetError(message)
        context.report("Let's Encrypt looks whether the name leads here")
        _run_job(
            context,
            "hearth-acme.service",
            lambda: certificate_fact(context.paths, context.settings),
        )


@dataclass(frozen=True)
class StayReachable:
    name: str = "public"
    title: str = "Keeping all of this up to date"

    def is_done(self, context: Context) -> bool:
        return context.units.is_active(TARGET)

    def apply(self, context: Context) -> None:
        context.units.start(TARGET)


def _run_job(context: Context, unit: str, fact: Callable[[], Outside]) -> None:
    """The job once, now. Raises NotYetError with what its result says unless all is well."""
    try:
        context.units.start(unit)
    except HearthError as error:
        # A job that finds something wrong exits with 1; its result says what, in better words.
        logger.info("%s: %s", unit, error.message)
    found = fact()
    if found.judgement is not Judgement.GOOD:
        raise NotYetError(found.detail, hint=found.next_step)
