"""A public server in the wizard: what was measured, the name, who makes it lead here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from appliance.answers import Judgement
from appliance.settings import Ddns, Public, Reach, Way, load_secrets, load_settings
from appliance.state import Phase
from services.acme.contract import AcmeState
from services.ddns.result import DdnsResult
from services.portmap.contract import Held, State
from services.portmap.mapper import PORTS
from services.reach import PORTMAP, PortmapResult
from services.results import save_result
from services.wan import WanAddresses
from setup_ui.flow import suggest_provider
from unit.setup_ui.appliance_under_test import PASSWORD, Appliance
from unit.setup_ui.browser import Browser

Owner = Callable[[], Browser]
YOU = {"name": "anna", "timezone": "Europe/Berlin", "password": PASSWORD, "repeat": PASSWORD}
NAME = "myhome.duckdns.org"
TOKEN = "token-that-nobody-may-read"


@pytest.fixture
def named(owner: Owner) -> Browser:
    """A browser that has chosen a public name."""
    browser = owner().submit(**YOU)
    browser.submit(action="/setup/network")
    return browser.submit(server_name=NAME, reach="public")


@pytest.fixture
def addressed(named: Browser) -> Browser:
    """A browser on the page that checks the account."""
    return named.get("/setup/address?provider=duckdns").submit(secret=TOKEN)


def refreshes(browser: Browser) -> bool:
    return any(attributes.get("http-equiv") == "refresh" for _, attributes in browser.page.elements)


# ---- network ------------------------------------------------------------------------------------


def test_the_network_is_measured_without_being_asked_to(owner: Owner, appliance: Appliance) -> None:
    browser = owner().submit(**YOU)
    assert browser.path == "/setup/network"
    assert appliance.host.checks == ["network"]
    assert refreshes(browser)
    assert browser.get("/setup/network.json").response.json == {"state": "running"}
    appliance.network_is("100.64.1.2")
    browser.get("/setup/network")
    assert not refreshes(browser)
    for text in ("CGNAT", "What you can do: ask the provider", "100.64.1.2"):
        assert text in browser.text
    browser.submit(action="/setup/network")
    assert browser.path == "/setup/server"
    assert "Your provider shares one public IPv4 address" in browser.text


def test_a_good_network_gives_no_advice(owner: Owner, appliance: Appliance) -> None:
    browser = owner().submit(**YOU)
    appliance.network_is("203.0.113.7")
    browser.get("/setup/network")
    assert "the world can reach this device" in browser.text
    assert "What you can do" not in browser.text
    browser.submit(action="/setup/network")
    assert "Before you choose" not in browser.text


def test_it_is_measured_again_on_request_only(owner: Owner, appliance: Appliance) -> None:
    browser = owner().submit(**YOU)
    appliance.network_is("203.0.113.7")
    browser.get("/setup/you").submit(name="berta")
    assert appliance.host.checks == ["network"]
    browser.get("/setup/network").submit(action="/setup/network/check")
    assert browser.path == "/setup/network"
    assert appliance.host.checks == ["network", "network"]
    assert refreshes(browser)


def test_nothing_is_measured_before_somebody_is_there(owner: Owner) -> None:
    assert owner().get("/setup/network").path == "/setup/you"


# ---- address ------------------------------------------------------------------------------------


def test_the_whole_way_of_a_public_server(addressed: Browser, appliance: Appliance) -> None:
    assert addressed.path == "/setup/address/check"
    assert appliance.host.checks == ["network", "address"]
    assert refreshes(addressed)
    appliance.account_is(Judgement.GOOD, "good", "DuckDNS accepts what you typed.")
    addressed.get("/setup/address/check")
    assert f"Your server will be at matrix.{NAME}" in addressed.text
    addressed.get("/setup/homeserver").submit(software="synapse")
    assert addressed.path == "/setup/review"
    for text in ("the whole Matrix network", f"matrix.{NAME}", "DuckDNS", "not shown"):
        assert text in addressed.text
    addressed.submit()
    assert addressed.path == "/progress"
    settings = load_settings(appliance.paths.settings)
    assert settings is not None
    assert settings.server.reach is Reach.PUBLIC
    assert settings.public == Public(ddns=Ddns(provider="duckdns", name=NAME), sub_names=True)
    assert load_secrets(appliance.paths.secrets).ddns_secret == TOKEN


def test_without_a_script_the_provider_comes_first_and_then_its_fields(named: Browser) -> None:
    assert named.path == "/setup/address"
    assert named.page.forms[-1].method == "get"
    assert named.value("provider") == "duckdns", "by the name's ending"
    fields = named.get("/setup/address?provider=noip").page.forms[-1].values
    assert {"name", "username", "secret"} <= set(fields)
    assert "endpoint" not in fields
    assert fields["name"] == NAME
    assert "DDNS key user name" in named.text


@pytest.mark.parametrize(
    ("provider", "typed", "field", "message"),
    [
        ("duckdns", {"name": "a.example.org", "secret": "x"}, "name", "is not a name of DuckDNS"),
        ("duckdns", {"secret": ""}, "secret", "Token is missing"),
        ("noip", {"secret": "x"}, "username", "is missing"),
        ("custom", {"username": "a", "endpoint": "ftp://x"}, "endpoint", "https://"),
    ],
)
def test_a_wrong_answer_is_told_at_its_field(
    named: Browser, provider: str, typed: dict[str, str], field: str, message: str
) -> None:
    named.get(f"/setup/address?provider={provider}").submit(**({"secret": TOKEN} | typed))
    assert named.status == 422
    assert message in named.error(field)
    assert named.value("secret") == ""
    assert TOKEN not in named.response.text


def test_an_unknown_provider_leads_to_the_choice(named: Browser) -> None:
    named.get("/setup/address?provider=nobody")
    assert (named.status, named.page.forms[-1].method) == (200, "get")


def test_a_bad_account_can_be_mended_tried_again_or_passed(
    addressed: Browser, appliance: Appliance
) -> None:
    headline = "DuckDNS: the provider does not accept the user name, token or password."
    appliance.account_is(Judgement.BAD, "badauth", headline, "DuckDNS says: KO")
    addressed.get("/setup/address/check")
    assert "copy it from the provider's page once more" in addressed.text
    assert "Continue all the same" in addressed.text
    addressed.submit(action="/setup/address/check")
    assert appliance.host.checks[-2:] == ["address", "address"]
    addressed.get("/setup/address")
    assert "Leave this empty to keep it" in addressed.text
    addressed.submit(secret="")
    assert load_secrets(appliance.paths.secrets).ddns_secret == TOKEN


def test_ones_own_dns(named: Browser, appliance: Appliance) -> None:
    named.get("/setup/address?provider=none").submit()
    assert named.path == "/setup/address/check"
    assert f"Must lead here {NAME}" in named.text
    assert "your own DNS" in named.text


def test_a_public_setup_resumes_at_the_address(named: Browser, owner: Owner) -> None:
    assert owner().path == "/setup/address"
    assert named.get("/setup/review").path == "/setup/address"
    assert named.get("/setup/address/check").path == "/setup/address"


@pytest.mark.parametrize("page", ["address", "address/check"])
def test_a_server_at_home_needs_no_address(reviewed: Browser, page: str) -> None:
    assert reviewed.get(f"/setup/{page}").path in ("/setup/server", "/setup/review")


@pytest.mark.parametrize("page", ["address", "address/check", "server", "review"])
def test_reload_and_back_work_everywhere(addressed: Browser, page: str) -> None:
    addressed.get("/setup/homeserver").submit(software="synapse")
    first = addressed.get(f"/setup/{page}")
    assert (first.status, first.path) == (200, f"/setup/{page}")
    assert addressed.get(f"/setup/{page}").page.headings == first.page.headings


def test_two_browsers_choose_two_providers(named: Browser, owner: Owner) -> None:
    one, two = named.get("/setup/address?provider=duckdns"), owner()
    two.get("/setup/address?provider=dynv6").submit(name="a.dynv6.net", secret="other")
    one.submit(secret=TOKEN)
    assert one.status == 409
    assert "Provider: now dynv6" in one.text
    assert one.value("secret") == ""
    one.submit(secret=TOKEN)
    assert one.path == "/setup/address/check"


def test_the_token_is_never_shown_nor_logged(
    named: Browser, appliance: Appliance, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    named.get("/setup/address?provider=duckdns").submit(secret=TOKEN)
    for path in ("server", "address", "address/check", "homeserver"):
        assert TOKEN not in named.get(f"/setup/{path}").response.text
    appliance.stop()
    named.get("/setup/address")
    appliance.start()
    form = named.get("/setup/address").page.forms[-1].values
    appliance.stop()
    named.post("/setup/address", form | {"secret": TOKEN})
    assert named.status == 503
    assert "Nothing was lost" in named.text
    assert TOKEN not in named.response.text
    assert TOKEN not in caplog.text


def test_the_provider_is_guessed_by_the_end_of_the_name(appliance: Appliance) -> None:
    forms = appliance.app.extensions["hearth"].agent.provider_forms()
    assert suggest_provider("a.dedyn.io", forms) == "desec"
    assert suggest_provider("home.example.org", forms) == ""


# ---- the way in -------------------------------------------------------------------------------


@pytest.fixture
def shut(owner: Owner, appliance: Appliance) -> Browser:
    """A browser behind a carrier's NAT that has answered all about the name."""
    browser = owner().submit(**YOU)
    appliance.network_is("100.64.1.2")
    browser.submit(action="/setup/network")
    browser.submit(server_name=NAME, reach="public")
    browser.get("/setup/address?provider=duckdns").submit(secret=TOKEN)
    appliance.account_is(Judgement.GOOD, "good", "DuckDNS accepts what you typed.")
    return browser.get("/setup/address/check")


def test_a_router_that_lets_the_world_in_leaves_nothing_to_choose(
    addressed: Browser, appliance: Appliance
) -> None:
    appliance.network_is("203.0.113.7")
    appliance.account_is(Judgement.GOOD, "good", "DuckDNS accepts what you typed.")
    addressed.get("/setup/address/check")
    assert addressed.page.forms[-2].action == "/setup/homeserver"
    addressed.get("/setup/homeserver").submit(software="synapse")
    assert addressed.path == "/setup/review"
    assert "through your router" in addressed.text


def test_where_nothing_gets_in_the_ways_are_offered(shut: Browser) -> None:
    assert shut.page.forms[-2].action == "/setup/way"
    shut.get("/setup/")
    assert shut.get("/setup/way").value("way") == "tunnel", "what is best behind a carrier's NAT"
    for text in (
        "Your provider shares one public IPv4 address",
        "Through a rented server",
        "Only who is at home can reach you",
        "has no IPv6 address of its own",
    ):
        assert text in shut.text
    assert shut.get("/").path == "/setup/way", "it is the first question that is open"


def test_the_way_ends_in_the_settings(shut: Browser, appliance: Appliance) -> None:
    shut.get("/setup/way").submit(way="port", port="4443")
    assert shut.path == "/setup/homeserver"
    shut.submit(software="synapse")
    assert "by port 4443" in shut.text
    assert f"matrix.{NAME}:4443" in shut.text
    shut.submit()
    settings = load_settings(appliance.paths.settings)
    assert settings is not None
    assert settings.public is not None
    assert (settings.public.way, settings.public.port) == (Way.PORT, 4443)


@pytest.mark.parametrize(("port", "problem"), [
    ("443", "is what “Through your router” opens"),
    ("0", "0 is not a port"), ("70000", "is not a port"),
    ("x", "Write the number of a port"), ("", "Write the number of a port"),
])  # fmt: skip
def test_a_port_that_cannot_be_is_refused(shut: Browser, port: str, problem: str) -> None:
    shut.get("/setup/way").submit(way="port", port=port)
    assert shut.status == 422
    assert problem in shut.text
    assert shut.value("way") == "port"


def test_a_way_that_the_provider_cannot_serve_is_not_taken(
    shut: Browser, appliance: Appliance
) -> None:
    shut.get("/setup/way").submit(way="home")
    assert shut.path == "/setup/homeserver"
    form = shut.get("/setup/address?provider=noip")
    form.submit(name=NAME, username="u", secret="s-e-c-r-e-t")
    assert shut.get("/").path == "/setup/way", "the choice of before cannot be any more"
    assert "proved by a TXT record" in shut.text
    assert shut.get("/setup/review").path == "/setup/way"
    values = shut.get("/setup/way").page.forms[-1].values
    shut.post("/setup/way", values | {"way": "home"})
    assert shut.status == 422
    shut.get("/setup/way").submit(way="ports")
    assert shut.path == "/setup/homeserver"


def test_a_server_of_the_home_network_has_no_way_in(owner: Owner) -> None:
    browser = owner().submit(**YOU)
    browser.submit(action="/setup/network")
    browser.submit(server_name="hearth.local", reach="lan")
    assert browser.get("/setup/way").path == "/setup/homeserver"


# ---- the end ------------------------------------------------------------------------------------


@pytest.fixture
def ready(addressed: Browser, appliance: Appliance) -> Browser:
    addressed.get("/setup/homeserver").submit(software="synapse").submit()
    appliance.provisioned(Phase.READY)
    return addressed.get("/done")


def test_a_server_that_the_world_cannot_reach_yet_says_why(
    ready: Browser, appliance: Appliance
) -> None:
    assert "It runs at home; the world cannot reach it yet" in ready.text
    result = DdnsResult(name=NAME, problem="the name is not yours (KO)", hint="check the name")
    save_result(appliance.paths, "ddns", result)
    ready.get("/done")
    assert "The name is not yours (KO). Check the name." in ready.text
    assert "https://hearth-ab12.local" in ready.text, "at home it works meanwhile"


def test_a_server_that_stays_at_home_promises_no_more(shut: Browser, appliance: Appliance) -> None:
    shut.get("/setup/way").submit(way="home").submit(software="synapse").submit()
    appliance.provisioned(Phase.READY)
    shut.get("/done")
    assert "its name does not work at home yet" in shut.text
    assert "Trust this server" in shut.text
    wan = WanAddresses(ipv4="192.168.1.7")
    save_result(appliance.paths, "ddns", DdnsResult(name=NAME, wanted=wan, is_correct=True))
    names = (NAME, f"matrix.{NAME}", f"chat.{NAME}")
    save_result(appliance.paths, "acme", AcmeState(certified=names, ends=1e11))
    shut.get("/done")
    assert "Everybody at home can reach it" in shut.text
    assert "Trust this server" not in shut.text
    assert f"https://matrix.{NAME}" in shut.text
    assert "The world can reach it" not in shut.text
    assert "It must be on the home network" in Browser(appliance.app).get("/connect").text


def test_a_server_that_the_world_reaches(ready: Browser, appliance: Appliance) -> None:
    appliance.network_is("203.0.113.7")
    [https] = [port for port in PORTS if port.external == 443]
    held = (Held(port=https, lease=3600, renewed=0.0),)
    save_result(appliance.paths, PORTMAP, PortmapResult(ports=replace(State(), held=held)))
    wan = WanAddresses(ipv4="203.0.113.7")
    save_result(appliance.paths, "ddns", DdnsResult(name=NAME, wanted=wan, is_correct=True))
    names = (NAME, f"matrix.{NAME}", f"chat.{NAME}")
    save_result(appliance.paths, "acme", AcmeState(certified=names, ends=1e11))
    ready.get("/done")
    assert "The world can reach it" in ready.text
    assert f"https://matrix.{NAME}" in ready.text
    assert "Trust this server" not in ready.text
    assert "hearth-ab12.local" not in Browser(appliance.app).get("/connect").text
