"""The progress page: from state.json alone, through restarts and failures."""

from __future__ import annotations

import re

import pytest

from appliance.state import Phase, State, StepState, StepStatus
from setup_ui.pages.progress import make_view, render_time
from unit.setup_ui.appliance_under_test import CODE, PASSWORD, Appliance, step
from unit.setup_ui.browser import Browser

DONE = step("database", StepState.DONE)
RUNNING = step("homeserver", StepState.RUNNING, detail="loading, 12 s so far")
FAILED = step("homeserver", StepState.FAILED, error="No space left.", hint="use a bigger card")
LATER = step("account", StepState.PENDING)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (0, "0 s"),
        (7.6, "8 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
    ],
)
def test_times_are_told_as_people_do(seconds: float, text: str) -> None:
    assert render_time(seconds) == text


def test_a_clock_set_back_gives_no_negative_time() -> None:
    state = State(
        phase=Phase.APPLYING,
        steps=(StepStatus(name="a", title="A", state=StepState.RUNNING, started=5000.0),),
    )
    assert make_view(state, agent_up=True, now=100.0).rows[0].time == "0 s"


def test_each_step_is_shown_with_its_state(reviewed: Browser, appliance: Appliance) -> None:
    skipped = step("secrets", StepState.SKIPPED)
    reviewed.submit()
    appliance.provisioned(Phase.APPLYING, skipped, DONE, RUNNING, LATER)
    browser = reviewed.get("/progress")
    assert "Step 3 of 4: Homeserver" in browser.text
    assert "Secrets Already done" in browser.text
    assert "Database Done 8 s" in browser.text
    assert re.search(r"Homeserver loading, 12 s so far Running (\d+ min )?\d+ s", browser.text)
    assert "Account Waiting" in browser.text


def test_a_failed_step_shows_error_hint_and_retry(reviewed: Browser, appliance: Appliance) -> None:
    reviewed.submit()
    appliance.provisioned(Phase.FAILED, DONE, FAILED, LATER)
    browser = reviewed.get("/")
    assert browser.path == "/progress"
    assert "No space left. Use a bigger card." in browser.text
    browser.submit(action="/progress/retry")
    assert browser.path == "/progress"
    assert "Setting up your server" in browser.text
    assert appliance.host.acts == ["provision", "provision"]


def test_a_second_click_on_retry_changes_nothing(reviewed: Browser, appliance: Appliance) -> None:
    reviewed.submit()
    appliance.provisioned(Phase.FAILED, DONE, FAILED)
    reviewed.get("/progress")
    form = reviewed.page.forms[-1]
    reviewed.post(form.action, form.values)
    reviewed.post(form.action, form.values)
    assert appliance.host.acts == ["provision", "provision"]


def test_a_visitor_sees_progress_but_cannot_act(reviewed: Browser, appliance: Appliance) -> None:
    reviewed.submit()
    appliance.provisioned(Phase.FAILED, DONE, FAILED)
    visitor = Browser(appliance.app).get("/progress")
    assert "No space left" in visitor.text
    assert visitor.page.forms == []
    assert visitor.get("/sign-in").submit(password=PASSWORD).path == "/progress"
    assert visitor.submit(action="/progress/retry").status == 200
    assert Browser(appliance.app).get("/claim").submit(code=CODE).path == "/progress"


def test_it_works_while_the_agent_is_away(reviewed: Browser, appliance: Appliance) -> None:
    reviewed.submit()
    appliance.provisioned(Phase.APPLYING, DONE, RUNNING)
    appliance.stop()
    browser = reviewed.get("/progress")
    assert browser.status == 200
    assert "restarting" in browser.text
    assert "Database Done" in browser.text
    appliance.start()
    assert "Step 2 of 2: Homeserver" in reviewed.get("/progress").text


def test_json_says_what_the_page_says(reviewed: Browser, appliance: Appliance) -> None:
    reviewed.submit()
    appliance.provisioned(Phase.APPLYING, DONE, RUNNING, LATER)
    told = reviewed.get("/progress.json").response.json
    assert told["phase"] == "applying"
    assert [row["word"] for row in told["steps"]] == ["Done", "Running", "Waiting"]
    assert (told["finished"], told["next"], told["agent_up"]) == (1, "", True)


def test_when_all_is_done_it_leads_on(reviewed: Browser, appliance: Appliance) -> None:
    reviewed.submit()
    appliance.provisioned(Phase.READY, DONE)
    assert reviewed.get("/progress.json").response.json["next"] == "/"
    assert reviewed.get("/progress").path == "/done"


def test_without_javascript_the_page_renews_itself(reviewed: Browser, appliance: Appliance) -> None:
    reviewed.submit()
    appliance.provisioned(Phase.APPLYING, RUNNING)
    assert (
        '<noscript><meta http-equiv="refresh" content="3">'
        in reviewed.get("/progress").response.text
    )
    appliance.provisioned(Phase.FAILED, FAILED)
    assert 'http-equiv="refresh"' not in reviewed.get("/progress").response.text


def test_a_damaged_state_file_is_a_page_that_tries_again(
    reviewed: Browser, appliance: Appliance
) -> None:
    reviewed.submit()
    appliance.paths.state.write_text('{"version": 1, "pha')
    browser = reviewed.get("/progress")
    assert browser.status == 503
    assert "One moment" in browser.page.headings


def test_before_setup_there_is_no_progress(browser: Browser) -> None:
    assert browser.get("/progress").path == "/claim"
