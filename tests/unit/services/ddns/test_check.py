"""What doctor says about a name, and what the form says about what was typed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import dns.resolver
import pytest

from appliance.errors import FieldError
from appliance.paths import Paths
from appliance.settings import Ddns, Public, load_settings, save_toml
from services.ddns.contract import ContractState
from services.ddns.form import check_ddns
from services.ddns.outcome import Kind
from services.ddns.providers import find_provider
from services.ddns.result import RESULT, DdnsResult, account_mark
from services.ddns.verify import Authorities, find_authorities
from services.health.ddns import DdnsCheck
from services.health.result import CheckResult, Examination, Verdict
from services.results import save_result
from services.wan import WanAddresses
from unit.services.appliance_files import SECRETS, SERVER_NAME, RecordedUnits, make_appliance
from unit.services.ddns.nameserver import KEY_NAME, KEY_SECRET, Zone, serve_zone

HERE = WanAddresses(ipv4="192.0.2.1")


@dataclass
class House:
    paths: Paths
    zone: Zone
    port: int
    ddns: Ddns

    def remember(self, state: ContractState, *, secret: str = KEY_SECRET) -> None:
        mark = account_mark(self.ddns, replace(SECRETS, ddns_secret=secret))
        save_result(self.paths, RESULT, DdnsResult(contract=replace(state, account=mark)))

    def examine(self) -> CheckResult:
        settings = load_settings(self.paths.settings)
        examination = Examination(paths=self.paths, units=RecordedUnits(), settings=settings)
        return DdnsCheck(authorities=self._authorities).run(examination)

    def _authorities(self, name: str) -> Authorities:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], self.port
        return find_authorities(name, resolver=resolver, port=self.port)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    zone = Zone()
    with serve_zone(zone) as port:
        paths = make_appliance(tmp_path)
        ddns = Ddns(
            provider="rfc2136", name=SERVER_NAME, username=KEY_NAME, endpoint=f"127.0.0.1:{port}"
        )
        settings = load_settings(paths.settings)
        assert settings is not None
        save_toml(replace(settings, public=Public(ddns=ddns)), paths.settings, mode=0o640)
        save_toml(replace(SECRETS, ddns_secret=KEY_SECRET), paths.secrets, mode=0o600)
        yield House(paths, zone, port, ddns)


def test_all_is_well(house: House) -> None:
    house.zone.publish(SERVER_NAME, "A", ("192.0.2.1",))
    house.remember(ContractState(acknowledged=HERE))
    result = house.examine()
    assert result.verdict is Verdict.OK, result
    assert "ns.example.org: 192.0.2.1" in result.evidence
    assert house.zone.updates == 0


def test_nothing_published_yet(house: House) -> None:
    result = house.examine()
    assert result.verdict is Verdict.WARN
    assert "the server knows the key" in result.evidence


def test_name_servers_that_answer_something_else(house: House) -> None:
    house.zone.publish(SERVER_NAME, "A", ("203.0.113.9",))
    house.remember(ContractState(acknowledged=HERE))
    result = house.examine()
    assert result.verdict is Verdict.WARN
    assert "203.0.113.9" in result.evidence
    assert "wanted: 192.0.2.1" in result.evidence


def test_wrong_key_is_found_without_an_update(house: House) -> None:
    secret = "d3Jvbmcgd3Jvbmcgd3Jvbmc="
    save_toml(replace(SECRETS, ddns_secret=secret), house.paths.secrets, mode=0o600)
    result = house.examine()
    assert result.verdict is Verdict.FAIL
    assert "does not accept" in result.evidence
    assert secret not in result.evidence + result.hint


def test_a_refusal_is_told_without_asking_again(house: House) -> None:
    house.remember(ContractState(stop=Kind.ABUSE, stop_said="HTTP 200: abuse"))
    result = house.examine()
    assert result.verdict is Verdict.FAIL
    assert "blocked this name" in result.evidence
    assert "unblock" in result.hint


def test_mark_changes_with_every_field_and_tells_nothing() -> None:
    ddns = Ddns(provider="noip", name="a.ddns.net", username="u", endpoint="e")
    secrets = replace(SECRETS, ddns_secret="s")
    marks = {
        account_mark(ddns, secrets),
        account_mark(replace(ddns, provider="dyn"), secrets),
        account_mark(replace(ddns, name="b.ddns.net"), secrets),
        account_mark(replace(ddns, username="v"), secrets),
        account_mark(replace(ddns, endpoint="f"), secrets),
        account_mark(ddns, replace(secrets, ddns_secret="t")),
        # Without what only root knows nobody can try passwords against it.
        account_mark(ddns, replace(secrets, form_secret="other")),
    }
    assert len(marks) == 7


GOOD = {
    "duckdns": Ddns(provider="duckdns", name="me.duckdns.org"),
    "noip": Ddns(provider="noip", name="me.ddns.net", username="key"),
    "rfc2136": Ddns(
        provider="rfc2136", name="home.example.org", username="key", endpoint="192.0.2.53:5353"
    ),
    "custom": Ddns(
        provider="custom", name="home.example.org", username="me",
        endpoint="https://ddns.example.org/nic/update",
    ),
}  # fmt: skip


@pytest.mark.parametrize("provider", GOOD)
def test_what_is_typed_well_is_taken_and_tidied(provider: str) -> None:
    ddns = GOOD[provider]
    typed = replace(ddns, name=f" {ddns.name.upper()}. ", username=f"{ddns.username} ")
    account = check_ddns(find_provider(provider), typed, " secret\n")
    assert (account.name, account.username) == (ddns.name, ddns.username)
    assert (account.endpoint, account.secret) == (ddns.endpoint, "secret")


@pytest.mark.parametrize(
    ("provider", "changes", "field"),
    [
        ("duckdns", {"name": "me.example.org"}, "name"),
        ("duckdns", {"name": "https://me.duckdns.org"}, "name"),
        ("noip", {"username": " "}, "username"),
        ("rfc2136", {"endpoint": ""}, "endpoint"),
        ("rfc2136", {"endpoint": "ns.example.org:port"}, "endpoint"),
        ("rfc2136", {"endpoint": "https://ns.example.org"}, "endpoint"),
        ("custom", {"endpoint": "http://ddns.example.org/nic/update"}, "endpoint"),
        ("custom", {"endpoint": "https://me:pw@ddns.example.org/nic/update"}, "endpoint"),
        ("custom", {"endpoint": "https://ddns.example.org/u?token=x"}, "endpoint"),
    ],
)
def test_what_is_typed_wrongly_names_the_field(
    provider: str, changes: dict[str, str], field: str
) -> None:
    typed = replace(GOOD[provider], **changes)  # type: ignore[arg-type]
    with pytest.raises(FieldError) as caught:
        check_ddns(find_provider(provider), typed, "secret")
    assert caught.value.field == field


def test_missing_secret_names_the_field() -> None:
    with pytest.raises(FieldError) as caught:
        check_ddns(find_provider("duckdns"), GOOD["duckdns"], " ")
    assert caught.value.field == "secret"
