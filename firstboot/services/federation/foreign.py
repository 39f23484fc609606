"""Another server, looked at as our own homeserver would: for ``federation check NAME``."""

from __future__ import annotations

from appliance.answers import Judgement
from appliance.errors import NetworkError
from services.federation.inside import Eyes, Seen, look
from services.federation.keys import Flaw
from services.federation.resolve import resolve
from services.federation.result import Cause, FederationResult, Part

GOOD, UNSURE, BAD = Judgement.GOOD, Judgement.UNSURE, Judgement.BAD
STEP = "“Resolving server names”"


def look_at(eyes: Eyes, name: str, *, now: float) -> FederationResult:
    """Raises ConfigError for what is no server name."""
    try:
        route = resolve(eyes.world, eyes.lookup, name)
    except NetworkError as error:
        return _say(name, now, Cause.NO_DNS, UNSURE, f"{error.message}.", "is the Internet there?")
    seen = tuple(look(eyes.world, place, name, now=now) for place in route.places)
    parts = [
        Part(name="step", title="Found by", judgement=GOOD, detail=f"step {route.step} of {STEP}")
    ]
    if route.well_known is not None:
        found = route.well_known
        detail = str(found.server or f"none: {found.error}")
        parts.append(Part(name="well-known", title="Well-known", judgement=GOOD, detail=detail))
    for one in route.services:
        detail = f"{one.target}:{one.port} {one.problem}".strip()
        judgement = BAD if one.problem else GOOD
        parts.append(Part(name="srv", title="SRV", judgement=judgement, detail=detail))
    parts += [_part(one) for one in seen]
    if not seen:
        return _say(name, now, Cause.NO_ADDRESS, BAD, f"{name} has no address.", "", parts)
    good = [one for one in seen if one.is_good]
    if len(good) == len(seen):
        return _say(name, now, Cause.GOOD, GOOD, f"Your server can talk to {name}.", "", parts)
    if good:
        sentence = f"Your server can talk to {name}, but not by all of its addresses."
        return _say(name, now, Cause.PARTLY, UNSURE, sentence, "", parts)
    sentence = f"Your server cannot talk to {name} now."
    step = "it is for whoever runs that server to mend, unless others fail too"
    return _say(name, now, Cause.OUTSIDE, BAD, sentence, step, parts)


def _part(seen: Seen) -> Part:
    if seen.is_good:
        said = f"{seen.version}, keys good"
    elif seen.keys is not None and seen.keys.flaw is not None:
        other = f" ({seen.keys.server})" if seen.keys.flaw is Flaw.OTHER else ""
        said = f"keys: {seen.keys.flaw.value}{other}"
    else:
        said = seen.said
    judgement = GOOD if seen.is_good else BAD
    return Part(name="place", title=str(seen.place), judgement=judgement, detail=said)


def _say(
    name: str,
    now: float,
    cause: Cause,
    judgement: Judgement,
    sentence: str,
    next_step: str,
    parts: list[Part] | None = None,
) -> FederationResult:
    return FederationResult(
        name=name,
        at=now,
        judgement=judgement,
        cause=cause,
        sentence=sentence,
        next_step=next_step,
        parts=tuple(parts or ()),
    )
