"""What a health check says: a verdict, what was measured, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from appliance.paths import Paths
from appliance.settings import Settings
from services.homeserver import Homeserver, find_homeserver
from services.units import Units


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """``evidence`` is what was seen, not what was expected."""

    verdict: Verdict
    evidence: str
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What the checks look at; ``settings`` only once setup is over."""

    paths: Paths
    units: Units
    settings: Settings | None

    @property
    def server(self) -> Settings:
        """The settings, for checks that are asked only after setup."""
        assert self.settings is not None
        return self.settings

    @property
    def homeserver(self) -> Homeserver:
        return find_homeserver(self.server.server.software)


class Check(Protocol):
    """``needs_setup``: there is nothing to look at before setup is over."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def needs_setup(self) -> bool: ...

    def run(self, examination: Examination) -> CheckResult:
        """May raise HearthError, which counts as a failure with its message and hint."""
        ...


def passed(evidence: str) -> CheckResult:
    return CheckResult(verdict=Verdict.OK, evidence=evidence)


def warned(evidence: str, hint: str) -> CheckResult:
    return CheckResult(verdict=Verdict.WARN, evidence=evidence, hint=hint)


def failed(evidence: str, hint: str) -> CheckResult:
    return CheckResult(verdict=Verdict.FAIL, evidence=evidence, hint=hint)
