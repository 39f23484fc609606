"""What was looked at, one row each for the page and for ``hearthctl federation check``. Pure."""

from __future__ import annotations

import time

from appliance.answers import Judgement
from services.federation.fetch import CERTIFICATE_FAULTS, Fault
from services.federation.inside import Inside, Seen
from services.federation.keys import Flaw
from services.federation.result import Part
from services.federation.tester import Answer, Connection, Memory
from services.names import HTTPS

GOOD, UNSURE, BAD = Judgement.GOOD, Judgement.UNSURE, Judgement.BAD
PLAIN = {
    Fault.SILENT: "no answer in time",
    Fault.REFUSED: "the connection is refused",
    Fault.UNREACHABLE: "there is no way to it",
}
FLAWS = {
    Flaw.GARBLED: "what is published is not in the form of keys",
    Flaw.OTHER: "the keys are those of another server",
    Flaw.OVER: "the keys have expired: the homeserver or the clock has stopped",
    Flaw.NONE: "there is no ed25519 key",
    Flaw.UNSIGNED: "the keys are not signed by themselves",
}


def list_parts(
    inside: Inside, memory: Memory, answer: Answer | None, *, is_certified: bool
) -> tuple[Part, ...]:
    """In the order in which another server would come to them; the outside first.

    Before there is a certificate nobody is let in at our door, which is no fault of each part.
    """
    parts = [_outside(memory, answer)]
    if is_certified:
        parts += [_well_known(inside), _srv(inside)]
    parts.append(_addresses(inside))
    if is_certified:
        parts += [_certificate(inside), _keys(inside.door), _version(inside.door)]
        parts.append(_hairpin(inside))
    return tuple(parts)


def _outside(memory: Memory, answer: Answer | None) -> Part:
    title = "Seen from outside"
    if answer is None:
        why = memory.error or "the public federation tester was not asked about this state yet"
        return Part(name="outside", title=title, judgement=UNSURE, detail=_sentence(why))
    asked = time.strftime("%H:%M", time.localtime(memory.answered))
    if answer.is_ok:
        detail = f"The public federation tester found everything as it must be, at {asked}."
        return Part(name="outside", title=title, judgement=GOOD, detail=detail)
    said = [f"{one.address}: {_words(one)}" for one in answer.connections]
    said += [text for text in (answer.version_error,) if text and not said]
    detail = f"The public federation tester said at {asked}: {'; '.join(said) or 'no address'}"
    return Part(name="outside", title=title, judgement=BAD, detail=_sentence(detail))


def _words(connection: Connection) -> str:
    """Go's own words only where ours would say less."""
    if connection.fault is None:
        return "as it must be"
    return PLAIN.get(connection.fault, connection.said)


def _well_known(inside: Inside) -> Part:
    title = "Who answers for the name"
    url = f"https://{inside.names.server}/.well-known/matrix/server"
    found = inside.door_well_known if inside.names.port == HTTPS else inside.well_known
    if found.server is not None:
        return Part(
            name="well-known", title=title, judgement=GOOD, detail=f"{url} says {found.server}."
        )
    detail = f"{url}: {found.error}"
    judgement = BAD if inside.names.port == HTTPS else UNSURE
    return Part(name="well-known", title=title, judgement=judgement, detail=_sentence(detail))


def _srv(inside: Inside) -> Part:
    title = "SRV records"
    route = inside.route
    if route is None or not route.services:
        named = route is not None and route.well_known is not None and route.well_known.server
        detail = "None is needed: the answer above names a port." if named else "There is none."
        return Part(name="srv", title=title, judgement=GOOD, detail=detail)
    lines = [f"{one.target}:{one.port}" + (f" ({one.problem})" if one.problem else "")
             for one in route.services]  # fmt: skip
    judgement = UNSURE if any(one.problem for one in route.services) else GOOD
    return Part(name="srv", title=title, judgement=judgement, detail=f"{'; '.join(lines)}.")


def _addresses(inside: Inside) -> Part:
    title = "Addresses"
    if inside.route is None:
        detail = _sentence(inside.dns_error)
        return Part(name="addresses", title=title, judgement=UNSURE, detail=detail)
    delegate = inside.route.delegate
    places = ", ".join(str(place) for place in inside.route.places)
    judgement = GOOD if places else BAD
    detail = f"{delegate} is at {places}." if places else f"{delegate} has no address."
    return Part(name="addresses", title=title, judgement=judgement, detail=detail)


def _certificate(inside: Inside) -> Part:
    title = "Certificate"
    faults = [inside.door.fault, inside.door_well_known.fault]
    if any(fault in CERTIFICATE_FAULTS for fault in faults):
        said = inside.door.said or inside.door_well_known.error
        return Part(name="tls", title=title, judgement=BAD, detail=_sentence(said))
    if inside.door.fault is not None and inside.door_well_known.fault is not None:
        return Part(name="tls", title=title, judgement=UNSURE, detail=_sentence(inside.door.said))
    names = " and ".join(dict.fromkeys((inside.names.server, inside.names.homeserver)))
    detail = f"For {names}, with a chain that this system trusts."
    return Part(name="tls", title=title, judgement=GOOD, detail=detail)


def _keys(door: Seen) -> Part:
    title = "Signed keys"
    if door.keys is None:
        return Part(name="keys", title=title, judgement=BAD, detail=_sentence(door.said))
    if door.keys.flaw is not None:
        detail = _sentence(FLAWS[door.keys.flaw])
        return Part(name="keys", title=title, judgement=BAD, detail=detail)
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(door.keys.valid_until))
    detail = f"{', '.join(door.keys.identities)}, signed by themselves, valid until {until}."
    return Part(name="keys", title=title, judgement=GOOD, detail=detail)


def _version(door: Seen) -> Part:
    judgement = GOOD if door.version else BAD
    return Part(
        name="version",
        title="Version",
        judgement=judgement,
        detail=_sentence(door.version or door.said),
    )


def _hairpin(inside: Inside) -> Part:
    """Proves nothing about the outside, either way; it explains what is seen at home."""
    title = "Through your own router"
    if inside.comes_back:
        detail = "From home, too, the public address leads back to this server."
        return Part(name="inside", title=title, judgement=GOOD, detail=detail)
    said = "; ".join(f"{one.place}: {one.said}" for one in inside.seen) or "there is no address"
    detail = f"From home the public address does not lead back here ({said}). Many routers are so."
    return Part(name="inside", title=title, judgement=UNSURE, detail=detail)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".") if text else ""
