"""The homeserver: its own health, and what a client sees through nginx."""

from __future__ import annotations

from dataclasses import dataclass

from services.health.result import CheckResult, Examination, failed, passed
from services.homeserver.api import client_versions, is_healthy
from services.results import load_result
from services.snapshots.result import RESULT, DatabaseResult
from services.trust import trusted_authorities


@dataclass(frozen=True)
class HomeserverCheck:
    name: str = "homeserver"
    title: str = "Homeserver"
    needs_setup: bool = True

    def run(self, examination: Examination) -> CheckResult:
        homeserver, paths = examination.homeserver, examination.paths
        if not is_healthy(homeserver, paths):
            database = load_result(paths, RESULT, DatabaseResult)
            if database is not None and database.error:
                return failed(
                    f"{homeserver.title} was not started: {database.error}", database.hint
                )
            state = (
                "is running but"
                if examination.units.is_active(homeserver.unit)
                else "is not running and"
            )
            log = examination.units.log_tail(homeserver.unit)
            evidence = f"{homeserver.title} {state} does not answer\n{log}".strip()
            return failed(evidence, "wait a few minutes after a start, then restart it")
        version = homeserver.version(paths)
        return passed(f"{homeserver.title} {version} answers on its own socket")


@dataclass(frozen=True)
class ClientCheck:
    name: str = "client"
    title: str = "What a client sees"
    needs_setup: bool = True

    def run(self, examination: Examination) -> CheckResult:
        name = examination.server.server.name
        trusted = trusted_authorities(examination.paths, examination.server)
        versions = client_versions(name, authority=trusted)
        return passed(f"https://{name} offers Matrix {versions[-1]}, certificate verified")
