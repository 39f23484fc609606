"""The end of the wizard: logging in, the certificate and the recovery file."""

from __future__ import annotations

import re

import pytest
import segno

from appliance.protocol import Status
from appliance.state import Phase
from services.authority import authority_certificate
from services.authority_issue import ensure_authority
from services.homeserver import HOMESERVERS
from services.recovery import open_recovery_file
from setup_ui.pages.done import connect_url, login_addresses
from setup_ui.qr import render_qr
from unit.setup_ui.appliance_under_test import PASSWORD, Appliance
from unit.setup_ui.browser import Browser


@pytest.fixture
def ready(reviewed: Browser, appliance: Appliance) -> Browser:
    reviewed.submit()
    appliance.provisioned(Phase.READY)
    return reviewed.get("/")


def make_status(name: str, addresses: tuple[str, ...]) -> Status:
    return Status(
        phase=Phase.READY, version="1", development=False, board="", data="ok",
        names=("hearth.local", "hearth-ab12.local"), addresses=addresses, server_name=name,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "addresses", "expected"),
    [
        ("hearth-ab12.local", ("192.0.2.7",), ("https://hearth-ab12.local", "https://192.0.2.7")),
        ("home.example.org", ("192.0.2.7",), ("https://hearth-ab12.local", "https://192.0.2.7")),
        (
            "family.local",
            ("2001:db8::7", "192.0.2.7"),
            ("https://hearth-ab12.local", "https://192.0.2.7"),
        ),
        ("home.example.org", ("2001:db8::7",), ("https://hearth-ab12.local",)),
    ],
)
def test_the_address_to_type_leads_somewhere_at_home(
    name: str, addresses: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert login_addresses(make_status(name, addresses)) == expected


def test_the_code_for_phones_needs_no_mdns(appliance: Appliance) -> None:
    with appliance.app.test_request_context(base_url="http://hearth-ab12.local"):
        status = make_status("a.local", ("2001:db8::7", "192.0.2.7"))
        assert connect_url(status) == "http://192.0.2.7/connect"
        assert connect_url(make_status("a.local", ())) == "http://hearth-ab12.local/connect"


def test_the_qr_code_draws_exactly_the_modules() -> None:
    text = "http://192.0.2.7/connect"
    code = segno.make(text, error="m", micro=False)
    expected = [[bool(module) for module in row] for row in code.matrix_iter(border=4)]
    drawn = [[False] * len(expected) for _ in expected]
    for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", render_qr(text)):
        for at in range(int(x), int(x) + int(length)):
            drawn[int(y)][at] = True
    assert drawn == expected


def test_the_last_page_says_how_to_log_in(ready: Browser) -> None:
    assert ready.path == "/done"
    for text in (
        "https://hearth-ab12.local",
        "@anna:home.example.org",
        "Element X",
        "recovery key",
    ):
        assert text in ready.text
    assert 'class="qr"' in ready.response.text


def test_members_need_no_session(ready: Browser, appliance: Appliance) -> None:
    member = Browser(appliance.app).get("/connect")
    assert member.status == 200
    assert "Log in with Element" in member.page.headings
    assert "Make the recovery file" not in member.text


@pytest.mark.parametrize("path", ["/done", "/connect", "/recovery"])
def test_before_the_end_they_lead_back(browser: Browser, path: str) -> None:
    assert browser.get(path).path == "/claim"


def test_the_certificate_is_offered_for_installation(ready: Browser, appliance: Appliance) -> None:
    ensure_authority(appliance.paths)
    response = ready.get("/hearth-authority.crt").response
    assert response.mimetype == "application/x-x509-ca-cert"
    assert response.data == authority_certificate(appliance.paths).read_bytes()


def test_without_a_certificate_the_page_says_so(ready: Browser) -> None:
    ready.get("/hearth-authority.crt")
    assert ready.status == 409
    assert "Not possible right now" in ready.page.headings


@pytest.mark.parametrize(
    ("passphrase", "repeat", "field", "message"),
    [
        ("short", "short", "passphrase", "10 is the least"),
        (PASSWORD, "other", "repeat", "differ"),
        ("", "", "passphrase", "0 characters"),
    ],
)
def test_a_bad_passphrase_is_told_at_its_field(
    ready: Browser, passphrase: str, repeat: str, field: str, message: str
) -> None:
    ready.get("/recovery").submit(passphrase=passphrase, repeat=repeat)
    assert ready.status == 422
    assert message in ready.error(field)
    assert ready.value("passphrase") == ""


def test_the_recovery_file_opens_with_its_passphrase(ready: Browser, appliance: Appliance) -> None:
    ensure_authority(appliance.paths)
    for homeserver in HOMESERVERS:
        key = homeserver.signing_key(appliance.paths)
        key.parent.mkdir(parents=True, exist_ok=True)
        key.write_text("the signing key")
    ready.get("/recovery").submit(passphrase=PASSWORD, repeat=PASSWORD)
    assert ready.status == 200, ready.text
    assert ready.response.headers["Content-Disposition"].startswith("attachment; filename=hearth")
    opened = open_recovery_file(ready.response.data, PASSWORD)
    assert opened.server_name == "home.example.org"
    assert PASSWORD.encode() not in ready.response.data
