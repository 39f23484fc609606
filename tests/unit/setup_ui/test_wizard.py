"""The wizard from claim to review, as a browser without JavaScript goes through it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from appliance.settings import Reach, Software, load_settings
from appliance.state import Phase, load_state
from unit.setup_ui.appliance_under_test import CODE, PASSWORD, Appliance
from unit.setup_ui.browser import Browser

Owner = Callable[[], Browser]
YOU = {"name": "anna", "timezone": "Europe/Berlin", "password": PASSWORD, "repeat": PASSWORD}


def test_the_whole_way_ends_in_settings_and_provisioning(appliance: Appliance) -> None:
    browser = Browser(appliance.app).get("/")
    assert browser.path == "/claim"
    browser.submit(code=CODE.upper())
    assert browser.path == "/setup/you"
    browser.submit(**YOU)
    assert browser.path == "/setup/network"
    assert appliance.host.checks == ["network"]
    browser.submit(action="/setup/network")
    assert browser.path == "/setup/server"
    assert browser.value("server_name") == "hearth-ab12.local"
    browser.submit(server_name="home.example.org")
    assert browser.path == "/setup/homeserver"
    browser.submit(software="dendrite")
    assert browser.path == "/setup/review"
    for answer in ("@anna:home.example.org", "Europe/Berlin", "Dendrite", "everybody at home"):
        assert answer in browser.text
    assert PASSWORD not in browser.response.text
    browser.submit()
    assert browser.path == "/progress"

    settings = load_settings(appliance.paths.settings)
    assert settings is not None
    assert (settings.owner.name, settings.device.timezone) == ("anna", "Europe/Berlin")
    assert settings.server.name == "home.example.org"
    assert (settings.server.software, settings.server.reach) == (Software.DENDRITE, Reach.LAN)
    assert load_state(appliance.paths.state).phase is Phase.APPLYING
    assert appliance.host.acts == ["provision"]


@pytest.mark.parametrize(
    ("typed", "field", "message"),
    [
        ({"name": ""}, "name", "Choose a name"),
        ({"name": "Anna"}, "name", "Use 'anna'"),
        ({"name": "anna berg"}, "name", "characters that a Matrix name cannot have"),
        ({"timezone": "Mars/Olympus"}, "timezone", "is not a time zone"),
        ({"password": "short", "repeat": "short"}, "password", "10 is the least"),
        ({"password": "aaaaaaaaaaaa", "repeat": "aaaaaaaaaaaa"}, "password", "easy to guess"),
        ({"repeat": "something else entirely"}, "repeat", "The two passwords differ"),
        ({"password": "", "repeat": ""}, "password", "0 characters"),
    ],
)
def test_a_wrong_answer_about_you_is_told_at_its_field(
    owner: Owner, typed: dict[str, str], field: str, message: str
) -> None:
    browser = owner().submit(**(YOU | typed))
    assert (browser.status, browser.path) == (422, "/setup/you")
    assert message in browser.error(field)
    assert browser.value("name") == (YOU | typed)["name"]
    assert browser.value("password") == browser.value("repeat") == ""
    assert browser.get("/setup/server").submit(server_name="a.example.org").status == 200
    assert browser.get("/setup/review").path == "/setup/you", "nothing was half-saved"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "Choose a name"),
        ("192.0.2.1", "is an IP address"),
        ("Home.example.org", "Use 'home.example.org'"),
        ("https://home.example.org/", "is a web address"),
        ("home", "is not a valid domain name"),
        ("a" * 250 + ".org", "188 is the limit"),
        ('"><script>alert(1)</script>.org', "is a web address"),
    ],
)
def test_a_bad_server_name_is_told_and_kept(owner: Owner, name: str, message: str) -> None:
    browser = owner().get("/setup/server").submit(server_name=name)
    assert browser.status == 422
    assert message in browser.error("server_name")
    assert browser.value("server_name") == name


def test_all_problems_of_a_page_are_told_at_once(owner: Owner) -> None:
    browser = owner().submit(**(YOU | {"name": "Anna", "password": "short", "repeat": "shirt"}))
    assert all(browser.error(field) for field in ("name", "password", "repeat"))


def test_a_chosen_password_is_kept_when_the_fields_stay_empty(
    reviewed: Browser, appliance: Appliance
) -> None:
    before = appliance.paths.secrets.read_text()
    browser = reviewed.get("/setup/you")
    assert "Leave both fields empty to keep it" in browser.text
    browser.submit(name="bob")
    assert browser.get("/setup/review").status == 200
    assert "@bob:home.example.org" in browser.text
    assert appliance.paths.secrets.read_text() == before


@pytest.mark.parametrize("page", ["you", "network", "server", "homeserver", "review"])
def test_reload_and_back_work_everywhere(reviewed: Browser, page: str) -> None:
    first = reviewed.get(f"/setup/{page}")
    assert (first.status, first.path) == (200, f"/setup/{page}")
    again = reviewed.get(f"/setup/{page}")
    assert again.page.headings == first.page.headings


def test_every_accepted_form_is_answered_by_a_redirect(owner: Owner) -> None:
    browser = owner()
    response = browser.client.post(
        "/setup/you",
        data=browser.page.forms[-1].values | YOU,
        base_url=browser.origin,
        environ_base=browser.environ,
    )
    assert (response.status_code, response.location) == (303, "/setup/network")


@pytest.mark.parametrize(
    ("answered", "page"),
    [(0, "you"), (1, "network"), (2, "server"), (3, "homeserver"), (4, "review")],
)
def test_a_half_finished_setup_resumes_at_the_open_page(
    owner: Owner, answered: int, page: str
) -> None:
    browser = owner()
    seen = {"action": "/setup/network"}
    answers = [YOU, seen, {"server_name": "home.example.org"}, {"software": "synapse"}]
    for answer in answers[:answered]:
        browser.submit(**answer)
    assert owner().path == f"/setup/{page}", "another browser with the same claim code"
    assert browser.get("/").path == f"/setup/{page}"


def test_it_resumes_after_agent_and_wizard_were_restarted(
    reviewed: Browser, appliance: Appliance
) -> None:
    appliance.stop()
    appliance.start()
    assert reviewed.get("/").path == "/setup/review"


def test_two_browsers_at_once_lose_nothing(owner: Owner) -> None:
    one, two = owner(), owner()
    two.submit(**YOU)
    one.submit(**(YOU | {"name": "bob", "timezone": "Europe/Paris"}))
    assert one.status == 409
    assert "Administrator name: now anna" in one.text
    assert "Time zone: now Europe/Berlin" in one.text
    assert (one.value("name"), one.value("timezone")) == ("bob", "Europe/Paris")
    one.submit(password=PASSWORD, repeat=PASSWORD)
    assert (one.status, one.path) == (200, "/setup/network")
    assert two.get("/setup/you").value("name") == "bob"


def test_a_review_that_is_out_of_date_is_not_applied(
    reviewed: Browser, owner: Owner, appliance: Appliance
) -> None:
    owner().get("/setup/server").submit(server_name="family.example.org")
    reviewed.submit()
    assert (reviewed.status, reviewed.path) == (409, "/setup/review")
    assert "now family.example.org , was home.example.org" in reviewed.text
    assert appliance.host.acts == []
    assert reviewed.submit().path == "/progress"


def test_sending_a_form_twice_is_no_conflict(owner: Owner) -> None:
    browser = owner()
    form = browser.page.forms[-1]
    browser.post(form.action, form.values | YOU)
    browser.post(form.action, form.values | YOU)
    assert (browser.status, browser.path) == (200, "/setup/network")


def test_setting_up_twice_provisions_once_more_at_most(
    reviewed: Browser, appliance: Appliance
) -> None:
    form = reviewed.page.forms[-1]
    reviewed.post(form.action, form.values)
    reviewed.post(form.action, form.values)
    assert reviewed.path == "/progress"
    assert load_state(appliance.paths.state).phase is Phase.APPLYING


def test_an_agent_that_is_away_costs_nothing_that_was_typed(
    owner: Owner, appliance: Appliance
) -> None:
    browser = owner().get("/setup/server")
    appliance.stop()
    browser.submit(server_name="home.example.org")
    assert browser.status == 503
    assert "not answering right now" in browser.text
    assert browser.value("server_name") == "home.example.org"
    appliance.start()
    browser.submit()
    assert browser.path == "/setup/homeserver"


@pytest.mark.parametrize("page", ["you", "network", "server", "address", "review"])
def test_without_a_session_the_wizard_asks_for_the_code(appliance: Appliance, page: str) -> None:
    Browser(appliance.app).get("/claim").submit(code=CODE)
    stranger = Browser(appliance.app).get(f"/setup/{page}")
    assert stranger.path == "/claim"
    assert "signed out" in stranger.text


@pytest.mark.parametrize("page", ["you", "network", "server", "address", "address/check", "review"])
def test_once_applying_the_answers_are_closed(reviewed: Browser, page: str) -> None:
    reviewed.submit()
    assert reviewed.get(f"/setup/{page}").path == "/progress"


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Etc/UTC", "Etc/GMT+2"])
def test_a_time_zone_from_hearth_toml_is_offered(appliance: Appliance, zone: str) -> None:
    appliance.stop()
    preseed = f'claim_code = "{CODE}"\ntimezone = "{zone}"\n'
    (appliance.paths.bootfs / "hearth.toml").write_text(preseed)
    appliance.start()
    browser = Browser(appliance.app).get("/claim").submit(code=CODE)
    assert browser.value("timezone") == zone


def test_a_note_about_hearth_toml_is_shown(appliance: Appliance) -> None:
    appliance.stop()
    (appliance.paths.bootfs / "hearth.toml").write_text(f'claim_code = "{CODE}"\ntimezon = "x"\n')
    appliance.start()
    assert "did you mean 'timezone'?" in Browser(appliance.app).get("/claim").text


def test_a_board_of_512_mb_stays_at_home_with_dendrite(
    appliance: Appliance, owner: Callable[[], Browser]
) -> None:
    (appliance.paths.root / "proc/meminfo").write_text("MemTotal:         426068 kB\n")
    browser = owner()
    browser.submit(**YOU).submit(action="/setup/network")
    browser.submit(server_name="home.example.org", reach="public")
    assert browser.path == "/setup/server"
    assert "needs a board with 1 GB of memory or more. This one has 416 MB" in browser.text
    browser.submit(server_name="home.example.org", reach="lan")
    assert browser.path == "/setup/homeserver"
    assert browser.value("software") == "dendrite"
    assert "Take Synapse" not in browser.text
    browser.submit(software="synapse")
    assert "Synapse needs a board with 1 GB" in browser.text
    assert browser.submit(software="dendrite").path == "/setup/review"
