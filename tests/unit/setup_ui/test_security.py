"""What is refused before any page: foreign names, networks, sites and forms."""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.paths import Paths
from setup_ui.hosts import find_domains, host_name, is_host_ours
from setup_ui.onlink import is_on_link, load_networks, parse_network
from unit.setup_ui.appliance_under_test import CODE, PASSWORD, Appliance
from unit.setup_ui.browser import Browser

NAMES = ("hearth.local", "hearth-ab12.local")


@pytest.mark.parametrize(
    ("header", "ours"),
    [
        ("hearth.local", True),
        ("HEARTH.local:80", True),
        ("hearth.local.", True),
        ("hearth-ab12.local:8080", True),
        ("pi.local", True),
        ("192.0.2.7", True),
        ("192.0.2.7:8080", True),
        ("[2001:db8::7]:80", True),
        ("[fe80::1]", True),
        ("localhost:8080", True),
        ("hearth", True),
        ("hearth-ab12", True),
        ("hearth.fritz.box", True),
        ("pi.fritz.box", True),
        ("hearth.example.com", False),
        ("evil.local", False),
        ("hearth.local.example.com", False),
        ("x.hearth.local", False),
        ("other.fritz.box", False),
        ("fritz.box", False),
        ("192.0.2.7.example.com", False),
        ("", False),
        ("example.com", False),
        ('localhost:"><script>', False),
        ("localhost/x", False),
        ("[::1", False),
    ],
)
def test_only_names_that_can_mean_this_appliance_are_ours(header: str, ours: bool) -> None:
    host = host_name(header)
    assert is_host_ours(host, names=NAMES, own="pi", domains={"fritz.box"}) is ours


def test_dhcp_domains_come_from_resolv_conf_and_networkd(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "resolv.conf").write_text("nameserver 192.0.2.1\nsearch fritz.box. lan\n")
    leases = tmp_path / "run" / "systemd" / "netif" / "leases"
    leases.mkdir(parents=True)
    (leases / "2").write_text("ADDRESS=192.0.2.7\nDOMAINNAME=home.arpa\n")
    (leases.parent / "state").write_text("OPER_STATE=routable\nDOMAINS=a.example ~. $(x)\n")
    assert find_domains(Paths(tmp_path)) == {"fritz.box", "lan", "home.arpa", "a.example"}
    assert find_domains(Paths(tmp_path / "none")) == frozenset()


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("192.168.1.20", True),
        ("192.168.2.20", False),
        ("::ffff:192.168.1.20", True),
        ("203.0.113.5", False),
        ("fe80::abcd%eth0", True),
        ("2001:db8:1::99", True),
        ("2001:db8:2::99", False),
        ("", False),
        ("unix:", False),
        ("192.168.1.20, 203.0.113.5", False),
    ],
)
def test_only_our_own_networks_are_on_link(source: str, allowed: bool) -> None:
    networks = tuple(
        ipaddress.ip_network(text) for text in ("192.168.1.0/24", "fe80::/64", "2001:db8:1::/64")
    )
    assert is_on_link(source, networks) is allowed


@pytest.mark.parametrize(
    ("address", "netmask", "network"),
    [
        ("192.168.1.7", "255.255.255.0", "192.168.1.0/24"),
        ("fe80::1%eth0", "ffff:ffff:ffff:ffff::/64", "fe80::/64"),
        ("2001:db8::7", "ffff:ffff:ffff:ffff::", "2001:db8::/64"),
        ("2001:db8::7", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", "2001:db8::7/128"),
    ],
)
def test_netifaces_masks_are_understood(address: str, netmask: str, network: str) -> None:
    assert parse_network(address, netmask) == ipaddress.ip_network(network)


def test_this_machines_networks_are_found() -> None:
    assert ipaddress.ip_network("127.0.0.0/8") in load_networks()


@pytest.mark.parametrize(
    "path", ["/", "/claim", "/healthz", "/static/hearth.css", "/progress.json"]
)
def test_a_source_from_elsewhere_gets_nothing(shared: Appliance, path: str) -> None:
    browser = Browser(shared.app, source="203.0.113.5").get(path)
    assert browser.status == 403
    assert "Only from the home network" in browser.page.headings


def test_without_nginx_word_nobody_is_on_link(shared: Appliance) -> None:
    assert Browser(shared.app, source="").get("/claim").status == 403


def test_a_header_cannot_change_the_address_of_a_direct_peer(shared: Appliance) -> None:
    browser = Browser(shared.app, source="127.0.0.1")
    browser.environ["REMOTE_ADDR"] = "203.0.113.5"
    assert browser.get("/claim").status == 403


@pytest.mark.parametrize("host", ["evil.example", "hearth.evil.example", "other.local"])
def test_a_foreign_host_name_is_misdirected(shared: Appliance, host: str) -> None:
    browser = Browser(shared.app, origin=f"http://{host}").get("/claim")
    assert browser.status == 421
    assert browser.page.forms == []


@pytest.mark.parametrize(
    "host", ["hearth.local", "hearth-ab12.local", "127.0.0.1:8080", "localhost"]
)
def test_all_our_names_work_from_the_first_request(appliance: Appliance, host: str) -> None:
    browser = Browser(appliance.app, origin=f"http://{host}").get("/")
    assert browser.submit(code=CODE).path == "/setup/you"


def test_health_answers_without_the_agent(appliance: Appliance) -> None:
    appliance.stop()
    browser = Browser(appliance.app, origin="http://localhost").get("/healthz")
    assert (browser.status, browser.response.json) == (200, {"ok": True})


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://hearth-ab12.local"},
        {"Origin": "http://hearth-ab12.local:81"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_form_from_another_site_is_refused(outsider: Browser, headers: dict[str, str]) -> None:
    form = outsider.get("/claim").page.forms[-1]
    outsider.post("/claim", form.values | {"code": CODE}, headers=headers)
    assert outsider.status == 403
    assert "another site" in outsider.text
    assert outsider.get("/").path == "/claim"


@pytest.mark.parametrize(
    "path",
    ["/claim", "/sign-in", "/sign-out", "/setup/you", "/setup/review", "/progress/retry",
     "/recovery", "/found/adopt", "/found/erase", "/no-such-page"],
)  # fmt: skip
@pytest.mark.parametrize("token", [None, "", "0" * 64, "\u00e4"])
def test_every_post_needs_the_token(outsider: Browser, path: str, token: str | None) -> None:
    outsider.get("/claim")
    outsider.post(path, {"code": CODE} | ({} if token is None else {"csrf": token}))
    assert outsider.status == 403
    assert "too old" in outsider.text


def test_a_token_is_of_no_use_in_another_browser(shared: Appliance) -> None:
    one, two = Browser(shared.app).get("/claim"), Browser(shared.app).get("/claim")
    two.post("/claim", one.page.forms[-1].values | {"code": CODE})
    assert two.status == 403


def test_a_token_from_before_the_session_is_of_no_use_in_it(browser: Browser) -> None:
    before = browser.get("/claim").page.forms[-1].values
    browser.submit(code=CODE)
    browser.post("/setup/you", before)
    assert browser.status == 403


def test_a_planted_browser_cookie_does_not_help_against_a_session(browser: Browser) -> None:
    """A neighbouring host may set a cookie for our domain; it does not know the session."""
    from setup_ui.csrf import make_token

    browser.get("/claim").submit(code=CODE)
    planted = "p" * 43
    browser.client.set_cookie("hearth_browser", planted, domain="hearth-ab12.local")
    browser.post("/setup/server", {"csrf": make_token(planted, "")})
    assert browser.status == 403


@pytest.mark.parametrize(
    ("scheme", "secure", "name"),
    [("http", False, "hearth_session"), ("https", True, "__Host-hearth_session")],
)
def test_cookies_are_kept_from_scripts_and_other_sites(
    appliance: Appliance, scheme: str, secure: bool, name: str
) -> None:
    browser = Browser(appliance.app, origin=f"{scheme}://hearth-ab12.local").get("/claim")
    response = browser.client.post(
        "/claim",
        data=browser.page.forms[-1].values | {"code": CODE},
        base_url=browser.origin,
        environ_base=browser.environ,
    )
    [cookie] = response.headers.getlist("Set-Cookie")
    assert cookie.startswith(f"{name}=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert ("Secure" in cookie) is secure
    left = browser.get("/setup/you").submit(action="/sign-out")
    assert left.client.get_cookie(name, domain="hearth-ab12.local") is None


@pytest.mark.parametrize(
    "path", ["/claim", "/no-such-page", "/healthz", "/progress.json", "/static/hearth.css"]
)
def test_everything_carries_the_headers(outsider: Browser, path: str) -> None:
    headers = outsider.get(path).response.headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "Server" not in headers


def test_pages_are_not_kept_and_static_files_are(outsider: Browser) -> None:
    page = outsider.get("/claim")
    assert page.response.headers["Cache-Control"] == "no-store"
    [style] = re.findall(r'href="(/static/hearth\.css\?v=[0-9a-f]+)"', page.response.text)
    assert "immutable" in outsider.get(style).response.headers["Cache-Control"]
    assert (
        "immutable" not in outsider.get("/static/hearth.css?v=0").response.headers["Cache-Control"]
    )


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/no-such-page", 404),
        ("GET", "/setup/no-such-page", 404),
        ("GET", "/static/../app.py", 404),
        ("PUT", "/claim", 405),
        ("DELETE", "/setup/you", 405),
        ("GET", "/progress/retry", 405),
    ],
)
def test_failures_are_pages_of_ours(outsider: Browser, method: str, path: str, code: int) -> None:
    response = outsider.client.open(
        path, method=method, base_url=outsider.origin, environ_base=outsider.environ
    )
    assert response.status_code == code
    assert '<html lang="en">' in response.text
    assert ("Allow" in response.headers) is (code == 405)


def test_a_request_that_is_too_large_is_refused(outsider: Browser) -> None:
    form = outsider.get("/claim").page.forms[-1]
    outsider.post("/claim", form.values | {"code": "A" * 20_000})
    assert outsider.status == 413
    assert "too much" in outsider.text


def test_a_fault_of_ours_shows_a_page_and_no_details(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    @appliance.app.get("/broken")
    def broken() -> str:
        raise RuntimeError(PASSWORD)

    browser = Browser(appliance.app).get("/broken")
    assert browser.status == 500
    assert "fault in Hearth" in browser.text
    assert PASSWORD not in browser.response.text


def test_what_is_typed_never_reaches_the_log(
    owner: Callable[[], Browser], appliance: Appliance, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    browser = owner()
    token = browser.client.get_cookie("hearth_session", domain="hearth-ab12.local")
    you = {"name": "anna", "timezone": "Europe/Berlin", "repeat": PASSWORD}
    browser.submit(**you, password=PASSWORD)
    browser.get("/setup/you")
    appliance.stop()
    browser.submit(**you, password=PASSWORD)
    assert browser.status == 503
    assert token is not None
    for secret in (PASSWORD, CODE, token.value):
        assert secret not in caplog.text


def test_the_name_that_was_set_at_flashing_is_ours_at_once(appliance: Appliance) -> None:
    """The pages started before the name was known, in a cage with the kernel's name of then."""
    assert Browser(appliance.app, origin="http://attic").get("/").status == 421
    appliance.paths.system.mkdir()
    (appliance.paths.system / "hostname").write_text("attic\n")
    assert Browser(appliance.app, origin="http://attic").get("/").status == 200
    assert Browser(appliance.app, origin="http://attic.local").get("/").status == 200
