"""Page "tunnel": which rented server, its script, and the check of the tunnel to it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from appliance.answers import Judgement
from appliance.settings import Tunnel, Way, load_secrets, load_settings
from services.tunnel.diagnose import Cause
from services.tunnel.keys import has_keys, public_key
from unit.setup_ui.appliance_under_test import PASSWORD, Appliance
from unit.setup_ui.browser import Browser

Owner = Callable[[], Browser]
YOU = {"name": "anna", "timezone": "Europe/Berlin", "password": PASSWORD, "repeat": PASSWORD}
NAME = "myhome.duckdns.org"
SERVER = "198.51.100.7"


@pytest.fixture
def asked(owner: Owner, appliance: Appliance) -> Browser:
    """A browser behind a carrier's NAT that has chosen the way through a rented server."""
    browser = owner().submit(**YOU)
    appliance.network_is("100.64.1.2")
    browser.submit(action="/setup/network")
    browser.submit(server_name=NAME, reach="public")
    browser.get("/setup/address?provider=duckdns").submit(secret="a-token")
    appliance.account_is(Judgement.GOOD, "good", "DuckDNS accepts what you typed.")
    return browser.get("/setup/way").submit(way="tunnel")


@pytest.fixture
def told(asked: Browser) -> Browser:
    """A browser that has said which server it is."""
    return asked.submit(server=SERVER)


def test_the_page_comes_after_its_way_and_stays_the_open_question(asked: Browser) -> None:
    assert asked.path == "/setup/tunnel"
    assert asked.get("/").path == "/setup/tunnel"
    assert asked.value("tunnel_port") == "51820"


@pytest.mark.parametrize(("server", "problem"), [
    ("", "Type the address of the rented server."),
    ("192.168.1.7", "is an address of a private network"),
    ("100.64.0.1", "is an address of a private network"),
    ("2001:db8::7", "This is an IPv6 address"),
    ("https://vps.example.net", "is a web address"),
    ("my server", "is not a valid domain name"),
    ("vps.local", "exist only on the home network"),
])  # fmt: skip
def test_what_cannot_be_the_server_is_refused(asked: Browser, server: str, problem: str) -> None:
    asked.submit(server=server)
    assert asked.status == 422
    assert problem in asked.text
    assert "for example 198.51.100.7" in asked.text


@pytest.mark.parametrize("port", ["0", "70000", "x", "-1"])
def test_what_is_no_port_is_refused(asked: Browser, port: str) -> None:
    asked.submit(server=SERVER, tunnel_port=port)
    assert asked.status == 422


def test_the_script_is_shown_and_downloaded_and_the_same(
    told: Browser, appliance: Appliance
) -> None:
    assert told.path == "/setup/tunnel/check"
    secrets = load_secrets(appliance.paths.secrets)
    assert has_keys(secrets)
    for text in (
        f"PrivateKey = {secrets.tunnel_vps_key}",
        f"PublicKey = {public_key(secrets.tunnel_key)}",
        "END-OF-HEARTH",
    ):
        assert text in told.text
    assert secrets.tunnel_key not in told.text, "our own key stays here"
    download = told.get("/setup/tunnel/script").response
    assert "hearth-vps.sh" in download.headers["Content-Disposition"]
    assert secrets.tunnel_vps_key in download.text
    before = download.text
    assert told.get("/setup/tunnel/script").response.text == before, "keys are made only once"
    assert download.headers["Cache-Control"] == "no-store"


def test_another_port_is_in_the_script(asked: Browser) -> None:
    asked.submit(server="VPS.example.net ", tunnel_port="443")
    assert "ListenPort = 443" in asked.text
    assert "ssh root@vps.example.net" in asked.text


def test_the_check_is_started_on_request_and_told(told: Browser, appliance: Appliance) -> None:
    assert "tunnel" not in appliance.host.checks, "the script is to be pasted first"
    told.submit(action="/setup/tunnel/check")
    assert appliance.host.checks[-1] == "tunnel"
    assert told.get("/setup/tunnel/check.json").response.json == {"state": "running"}
    assert "Waiting for an answer" in told.get("/setup/tunnel/check").text
    appliance.tunnel_is(Cause.CLOSED, f"{SERVER} refuses UDP port 51820")
    told.get("/setup/tunnel/check")
    assert "no WireGuard runs on it" in told.text
    assert "What you can do: paste the script" in told.text
    assert "Continue all the same" in told.text
    appliance.tunnel_is(None)
    assert "The tunnel works" in told.get("/setup/tunnel/check").text


def test_a_finding_is_of_no_use_for_another_server(told: Browser, appliance: Appliance) -> None:
    appliance.tunnel_is(None)
    told.get("/setup/tunnel").submit(server="198.51.100.8")
    assert "The tunnel works" not in told.text
    assert "Continue without a check" in told.text


def test_one_goes_on_without_a_check_and_it_ends_in_the_settings(
    told: Browser, appliance: Appliance
) -> None:
    assert "/setup/homeserver" in [form.action for form in told.page.forms]
    told.get("/setup/homeserver").submit(software="synapse")
    assert f"through the rented server {SERVER}" in told.text
    told.submit()
    settings = load_settings(appliance.paths.settings)
    assert settings is not None
    assert settings.public is not None
    assert settings.public.way is Way.TUNNEL
    assert settings.public.tunnel == Tunnel(server=SERVER)
    assert has_keys(load_secrets(appliance.paths.secrets))
    assert os.stat(appliance.paths.secrets).st_mode & 0o777 == 0o600  # noqa: PTH116


def test_keys_of_a_tunnel_that_is_not_wanted_are_dropped(
    told: Browser, appliance: Appliance
) -> None:
    told.get("/setup/way").submit(way="ports")
    assert told.get("/setup/tunnel").path == "/setup/way"
    assert told.get("/setup/tunnel/check").path == "/setup/homeserver"
    told.submit(software="synapse")
    told.submit()
    assert not load_secrets(appliance.paths.secrets).tunnel_key
    settings = load_settings(appliance.paths.settings)
    assert settings is not None
    assert settings.public is not None
    assert settings.public.tunnel is None


def test_a_stranger_gets_no_script(told: Browser, appliance: Appliance) -> None:
    stranger = Browser(appliance.app)
    for path in ("/setup/tunnel/script", "/setup/tunnel/check"):
        page = stranger.get(path)
        assert "PrivateKey" not in page.text
        assert "PrivateKey" not in page.response.text
