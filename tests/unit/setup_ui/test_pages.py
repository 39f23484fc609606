"""What every page owes to people who do not see it, and to slow networks."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import setup_ui
from appliance.answers import Judgement
from appliance.state import Phase, StepState
from setup_ui.timezones import load_zones
from unit.setup_ui.appliance_under_test import Appliance, step
from unit.setup_ui.browser import Browser, PageParser

STATIC = Path(setup_ui.__file__).parent / "static"
AA_TEXT, AA_EDGE = 4.5, 3.0


def visit_all(reviewed: Browser, appliance: Appliance) -> list[PageParser]:
    """Every page that one appliance can show, with and without errors."""
    pages = []

    def keep(browser: Browser) -> Browser:
        pages.append((browser.path, browser.response.text, browser.page))
        return browser

    stranger = Browser(appliance.app)
    keep(stranger.get("/claim"))
    keep(stranger.submit(code="wrong"))
    keep(stranger.get("/no-such-page"))
    for name in ("you", "network", "server", "homeserver", "review"):
        keep(reviewed.get(f"/setup/{name}"))
    appliance.network_is("100.64.1.2")
    keep(reviewed.get("/setup/network"))
    keep(reviewed.get("/setup/you").submit(name="A", password="b", repeat="c"))
    keep(reviewed.get("/setup/server").submit(server_name="B"))
    name = "myhome.duckdns.org"
    keep(reviewed.get("/setup/server").submit(reach="public", server_name=name))
    keep(reviewed.get("/setup/address?provider=custom").submit(secret="token"))
    keep(reviewed.get("/setup/address?provider=duckdns").submit(secret="token"))
    appliance.account_is(Judgement.BAD, "badauth", "No.", "DuckDNS says: KO")
    keep(reviewed.get("/setup/address/check"))
    keep(reviewed.get("/setup/address"))
    keep(reviewed.get("/setup/address?provider=none"))
    keep(reviewed.get("/setup/review"))
    reviewed.submit()
    failed = step("database", StepState.FAILED, error="No.", hint="try again")
    appliance.provisioned(Phase.FAILED, step("keys", StepState.DONE), failed)
    keep(reviewed.get("/progress"))
    appliance.provisioned(Phase.READY)
    for path in ("/done", "/connect", "/recovery"):
        keep(reviewed.get(path))
    keep(reviewed.submit(passphrase="x", repeat="y"))
    keep(stranger.get("/sign-in"))
    keep(stranger.submit(password="wrong"))
    return pages


def test_pages_are_built_for_everybody(reviewed: Browser, appliance: Appliance) -> None:
    for path, text, page in visit_all(reviewed, appliance):
        assert len(page.headings) == 1, path
        assert page.title.strip().endswith("Hearth"), path
        assert ("html", {"lang": "en"}) in page.elements, path
        assert ("a", {"class": "skip", "href": "#main"}) in page.elements, path
        identities = [a["id"] for _, a in page.elements if "id" in a]
        assert len(identities) == len(set(identities)), path
        labels = {a["for"] for tag, a in page.elements if tag == "label" and "for" in a}
        for tag, attributes in page.elements:
            assert "style" not in attributes, path
            assert not [name for name in attributes if name.startswith("on")], path
            for reference in ("aria-describedby", "aria-labelledby"):
                assert set(attributes.get(reference, "").split()) <= set(identities), path
            if tag in ("input", "select") and attributes.get("type") not in ("hidden", "radio"):
                hidden = attributes.get("aria-hidden") == "true"
                assert hidden or attributes["id"] in labels, (path, attributes)
        assert not re.search(r"<script(?![^>]*src=)|<style", text), path


def test_a_first_visit_is_light(browser: Browser) -> None:
    page = len(browser.get("/claim").response.data)
    files = sum(file.stat().st_size for file in STATIC.iterdir())
    assert page + files <= 30_000


def test_the_time_zones_are_a_quick_page(owner: Callable[[], Browser]) -> None:
    assert len(gzip.compress(owner().response.data)) <= 12_000


def test_time_zones_are_complete_and_known_by_older_names() -> None:
    zones = {zone.name: zone for group in load_zones().values() for zone in group}
    assert len(zones) > 300
    assert zones["Europe/Berlin"].city == "Berlin"
    assert zones["America/Argentina/Ushuaia"].city == "Argentina, Ushuaia"
    assert "Asia/Calcutta" in zones["Asia/Kolkata"].aliases


def test_a_missing_zone_list_is_no_disaster(tmp_path: Path) -> None:
    assert load_zones(tmp_path) == {}


def colours(css: str) -> tuple[dict[str, str], dict[str, str]]:
    found = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block)) for block in found)
    return light, light | dark


def luminance(colour: str) -> float:
    """WCAG 2.2, "relative luminance"."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("front", "back", "least"),
    [
        ("ink", "page", AA_TEXT), ("ink", "card", AA_TEXT), ("ink", "accent-soft", AA_TEXT),
        ("soft", "page", AA_TEXT), ("soft", "card", AA_TEXT),
        ("soft", "accent-soft", AA_TEXT), ("accent", "page", AA_TEXT),
        ("accent", "card", AA_TEXT), ("accent", "accent-soft", AA_TEXT),
        ("accent-ink", "accent", AA_TEXT), ("bad", "page", AA_TEXT),
        ("bad", "bad-soft", AA_TEXT), ("bad", "card", AA_TEXT),
        ("bad", "accent-soft", AA_TEXT), ("card", "bad", AA_TEXT),
        ("good", "good-soft", AA_TEXT), ("ink", "good-soft", AA_TEXT),
        ("ink", "warn-soft", AA_TEXT), ("card", "good", AA_TEXT), ("ink", "line", AA_TEXT),
        ("edge", "page", AA_EDGE), ("edge", "card", AA_EDGE),
    ],
)  # fmt: skip
def test_colours_have_contrast(scheme: int, front: str, back: str, least: float) -> None:
    table = colours((STATIC / "hearth.css").read_text())[scheme]
    lighter, darker = sorted((luminance(table[front]), luminance(table[back])), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= least
