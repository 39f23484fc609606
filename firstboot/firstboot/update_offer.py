"""What may be installed now, as far as is known: by the channel's last word, or from a stick."""

from __future__ import annotations

import json

from appliance.paths import Paths
from appliance.settings import Settings, Updates, load_settings
from services.results import load_result
from services.update import channel, stick
from services.update.channel import CheckResult, Source
from services.update.choose import is_newer, parse_version
from services.update.install import Wanted
from services.update.machine import read_machine


def newest_offer(paths: Paths) -> Wanted | None:
    """For the owner: the newest of both, and of the same version the one that is here already."""
    offers = []
    local = stick.find_stick_offer(paths)
    if local and parse_version(local.version) > parse_version(read_machine(paths).version):
        copy = str(stick.copy_of(paths))
        offers.append(Wanted(source=copy, version=local.version, by_hand=True))
    if remote := offered_by_channel(paths, by_hand=True):
        offers.append(remote)
    return max(offers, key=lambda one: parse_version(one.version), default=None)


def is_on_stick(paths: Paths, wanted: Wanted) -> bool:
    return wanted.source == str(stick.copy_of(paths))


def offered_by_channel(paths: Paths, *, by_hand: bool = False) -> Wanted | None:
    found = load_result(paths, channel.RESULT, CheckResult)
    source = find_source(paths)
    if found is None or found.offer is None or source is None:
        return None
    if found.source != source.index_url or not is_newer(found.offer.facts, read_machine(paths)):
        return None  # of another channel, or from before the last update
    offer = found.offer
    return Wanted(source=offer.bundle.url, version=offer.facts.version, by_hand=by_hand)


def find_source(paths: Paths) -> Source | None:
    """Where to ask: the owner's address, else the one that the image was built with."""
    wishes = find_wishes(load_settings(paths.settings))
    url = wishes.url
    if not url:
        try:
            url = str(json.loads(paths.image_facts.read_text()).get("update_url", ""))
        except (OSError, ValueError):
            return None
    return Source(url=url, channel=wishes.channel) if url else None


def find_wishes(settings: Settings | None) -> Updates:
    return settings.updates if settings else Updates()
