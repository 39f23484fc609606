"""nginx and behind it the pages, asked as a browser asks."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.errors import NetworkError
from services import proxy
from services.health.result import CheckResult, Examination, failed, passed
from services.http import ask_http

OK, SERVER_ERROR = 200, 500
UI = "hearth-ui.service"


@dataclass(frozen=True)
class ProxyCheck:
    name: str = "nginx"
    title: str = "Web server"
    needs_setup: bool = False

    def run(self, examination: Examination) -> CheckResult:
        try:
            answer = ask_http("hearth.local", "/")
        except NetworkError as error:
            log = examination.units.log_tail(proxy.UNIT)
            return failed(f"{error.message}\n{log}".strip(), f"restart {proxy.UNIT}")
        return passed(f"port 80 answers ({answer.headers.get('Server', 'unnamed')})")


@dataclass(frozen=True)
class PagesCheck:
    name: str = "pages"
    title: str = "Setup pages"
    needs_setup: bool = False

    def run(self, examination: Examination) -> CheckResult:
        answer = ask_http("hearth.local", "/")
        if answer.status >= SERVER_ERROR:
            log = examination.units.log_tail(UI)
            evidence = f"http://hearth.local/ answers {answer.status}\n{log}".strip()
            return failed(evidence, f"restart {UI}")
        return passed(f"http://hearth.local/ answers {answer.status}")


@dataclass(frozen=True)
class SignInCheck:
    """The page through which the owner comes in, with the field that it is about."""

    name: str = "sign-in"
    title: str = "Sign-in page"
    needs_setup: bool = False

    def run(self, examination: Examination) -> CheckResult:
        is_set_up = examination.settings is not None
        page, field = ("/sign-in", "password") if is_set_up else ("/claim", "code")
        answer = ask_http("hearth.local", page)
        if answer.status != OK or f'name="{field}"'.encode() not in answer.body:
            log = examination.units.log_tail(UI)
            evidence = f"http://hearth.local{page} answers {answer.status} without a form\n{log}"
            return failed(evidence.strip(), f"restart {UI}")
        return passed(f"http://hearth.local{page} asks for the {field}")
