"""Can other servers talk to ours? A judgement from what was seen inside and outside. Pure.

What is broken at our own door is broken for everybody. After that the outside decides; without an
outside nothing that is seen from inside proves that the world gets in: a router may lead its own
address back in and let nobody else through.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.answers import Judgement
from appliance.settings import Public
from services.federation.fetch import CERTIFICATE_FAULTS, Fault
from services.federation.inside import Inside
from services.federation.result import Cause
from services.federation.tester import Answer, Connection
from services.names import HTTPS
from services.portmap.causes import FORWARDS
from services.wan import is_publishable

GOOD, UNSURE, BAD = Judgement.GOOD, Judgement.UNSURE, Judgement.BAD
THROUGH_THE_ROUTER = Public()
SHUT = (Fault.REFUSED, Fault.UNREACHABLE)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """``ours`` are the addresses where the name is to lead; ``is_mapped``: the router says that it
    forwards what comes in; never so for a tunnel, whatever is left of an earlier way.
    """

    is_certified: bool
    is_mapped: bool
    ours: tuple[str, ...] = ()
    public: Public = THROUGH_THE_ROUTER


@dataclass(frozen=True, kw_only=True)
class Explanation:
    judgement: Judgement
    sentence: str
    next_step: str = ""


# As for a router's ports; what helps on another way in is in services.federation.advice.
BY_ITSELF = "wait; it is looked at again by itself"
EXPLANATIONS = {
    Cause.GOOD: Explanation(
        judgement=GOOD, sentence="Other servers can talk to yours: seen from outside."
    ),
    Cause.INSIDE_ONLY: Explanation(
        judgement=UNSURE,
        sentence="All is well as far as it can be seen from the inside only; nobody outside has "
        "looked yet.",
        next_step=BY_ITSELF,
    ),
    Cause.PARTLY: Explanation(
        judgement=UNSURE,
        sentence="Other servers reach yours by one of its addresses, but not by all.",
        next_step="servers that try the other address first may give up: look at the list below",
    ),
    Cause.NO_CERTIFICATE: Explanation(
        judgement=UNSURE,
        sentence="Other servers are let in as soon as the certificate is there.",
        next_step="wait; the certificate is asked for by itself",
    ),
    Cause.NO_DNS: Explanation(
        judgement=UNSURE,
        sentence="No name server answers from here, so nothing could be looked at.",
        next_step="look whether the Internet is there; then check again",
    ),
    Cause.NO_ADDRESS: Explanation(
        judgement=BAD,
        sentence="The server's name leads nowhere: DNS has no address for it.",
        next_step="look at the line about the name; with a name of your own, make an A record for "
        "it at its DNS provider",
    ),
    Cause.PRIVATE_ADDRESS: Explanation(
        judgement=BAD,
        sentence="The server's name leads to an address that only your home has; other servers "
        "refuse such addresses.",
        next_step="let the name lead to your connection's public address",
    ),
    Cause.WRONG_ADDRESS: Explanation(
        judgement=BAD,
        sentence="The server's name leads somewhere else, not to this connection.",
        next_step="wait some minutes if your address has just changed; otherwise look for another "
        "device that updates this name",
    ),
    Cause.WELL_KNOWN: Explanation(
        judgement=BAD,
        sentence="Your server does not say who answers for its name.",
        next_step="restart the appliance; if it stays so: hearthctl apply, then hearthctl doctor",
    ),
    Cause.CERTIFICATE: Explanation(
        judgement=BAD,
        sentence="Your server's certificate is one that other servers do not accept.",
        next_step="look at the line about the certificate; it is renewed by itself when its cause "
        "is gone",
    ),
    Cause.HOMESERVER_DOWN: Explanation(
        judgement=BAD,
        sentence="The homeserver itself does not answer.",
        next_step="wait some minutes after a start; then look at: hearthctl doctor homeserver",
    ),
    Cause.KEYS: Explanation(
        judgement=BAD,
        sentence="The homeserver's keys are not as other servers want them.",
        next_step="look whether the appliance's clock is right, then restart it",
    ),
    Cause.NOTHING_ARRIVES: Explanation(
        judgement=BAD,
        sentence="Your router says that it forwards what comes from outside, but nothing arrives.",
        next_step="restart the router; if it stays so, switch its UPnP off and forward the ports "
        f"by hand ({FORWARDS}), and ask your provider whether it blocks them",
    ),
    Cause.CLOSED: Explanation(
        judgement=BAD,
        sentence="Nothing that other servers send arrives here.",
        next_step="allow UPnP on your router's page, or forward the ports by hand there: "
        f"{FORWARDS}",
    ),
    Cause.REFUSED: Explanation(
        judgement=BAD,
        sentence="Your connection refuses other servers: the port is closed, or leads to a machine "
        "that does not listen.",
        next_step="look on your router's page where its ports lead; they must lead from "
        f"{FORWARDS}",
    ),
    Cause.OTHER_MACHINE: Explanation(
        judgement=BAD,
        sentence="From outside another machine answers in place of your server.",
        next_step="look on your router's page where port 443 leads; the router's own page may "
        "occupy it (remote administration): switch that off",
    ),
    Cause.OUTSIDE: Explanation(
        judgement=BAD,
        sentence="Seen from outside something is wrong; the list below says what.",
        next_step="check again in ten minutes; if it stays so, look at: hearthctl doctor",
    ),
}


def judge(inside: Inside, answer: Answer | None, facts: Facts) -> Cause:
    """``answer`` is the tester's about the present state, None where it could not be asked."""
    if facts.is_certified and (cause := _door(inside)) is not None:
        return cause
    if answer is not None:
        return _outside(answer, facts)
    return _blind(inside, facts)


def _door(inside: Inside) -> Cause | None:
    door, well_known = inside.door, inside.door_well_known
    if door.fault in CERTIFICATE_FAULTS:
        return Cause.CERTIFICATE
    if door.fault is not None:
        return Cause.HOMESERVER_DOWN
    if door.keys is None or door.keys.flaw is not None:
        return Cause.KEYS
    if inside.names.port == HTTPS and well_known.server is None:
        return Cause.WELL_KNOWN
    return None


def _outside(answer: Answer, facts: Facts) -> Cause:
    if answer.is_ok:
        return Cause.GOOD
    connections = answer.connections
    if not connections:
        return Cause.NO_ADDRESS
    if any(one.fault is None for one in connections):
        return Cause.OUTSIDE if answer.version_error else Cause.PARTLY
    if facts.ours and not {_host(one) for one in connections} & set(facts.ours):
        return Cause.WRONG_ADDRESS
    return _shut(connections, facts)


def _shut(connections: tuple[Connection, ...], facts: Facts) -> Cause:
    """No address of ours works. One that answers anything tells more than one that is silent."""
    faults = {one.fault for one in connections}
    if faults & {*CERTIFICATE_FAULTS} or any(one.is_other_server for one in connections):
        return Cause.OTHER_MACHINE
    if faults & {Fault.GARBLED, Fault.STATUS}:
        return Cause.OUTSIDE
    if faults & {*SHUT}:
        return Cause.REFUSED if facts.is_certified else Cause.NO_CERTIFICATE
    return Cause.NOTHING_ARRIVES if facts.is_mapped else Cause.CLOSED


def _blind(inside: Inside, facts: Facts) -> Cause:
    if not facts.is_certified:
        return Cause.NO_CERTIFICATE
    if inside.route is None:
        return Cause.NO_DNS
    addresses = {place.address for place in inside.route.places}
    if not addresses:
        return Cause.NO_ADDRESS
    if not any(is_publishable(address) for address in addresses):
        return Cause.PRIVATE_ADDRESS
    if facts.ours and not addresses & set(facts.ours):
        return Cause.WRONG_ADDRESS
    return Cause.INSIDE_ONLY


def _host(connection: Connection) -> str:
    """Go's net.JoinHostPort: an IPv6 address is in brackets."""
    return connection.address.rpartition(":")[0].strip("[]")
