"""``hearthctl ddns set``: judged like the wizard's page, tried at the provider, saved at once."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.answers import OWN_DNS
from appliance.errors import CheckerError, FieldError, HearthError, UsageError
from appliance.paths import Paths
from appliance.settings import (
    Ddns,
    Public,
    Reach,
    Settings,
    Way,
    load_secrets,
    load_settings,
    save_toml,
)
from appliance.state import Phase, State, save_state
from firstboot.cli import make_parser
from firstboot.provider_verbs import Asked, change_account, judge, read_secret, save, try_account
from unit.services.appliance_files import SECRETS, SERVER_NAME, RecordedUnits, make_appliance
from unit.services.ddns.nameserver import KEY_NAME, KEY_SECRET, Zone, serve_zone

DUCKDNS = Ddns(provider="duckdns", name="anna.duckdns.org")
TOKEN = "0b9c-a-token-that-nobody-may-see"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = make_appliance(tmp_path)
    publish(paths, Public(ddns=Ddns(provider="desec", name=SERVER_NAME), sub_names=True))
    save_toml(replace(SECRETS, ddns_secret="before"), paths.secrets, mode=0o600)
    save_state(State(phase=Phase.READY), paths.state)
    return paths


@pytest.fixture
def zone() -> Iterator[tuple[Zone, str]]:
    zone = Zone()
    with serve_zone(zone) as port:
        yield zone, f"127.0.0.1:{port}"


def settings_of(paths: Paths) -> Settings:
    settings = load_settings(paths.settings)
    assert settings is not None
    return settings


def publish(paths: Paths, public: Public) -> None:
    settings = settings_of(paths)
    server = replace(settings.server, reach=Reach.PUBLIC)
    save_toml(replace(settings, server=server, public=public), paths.settings, mode=0o640)


def judged(paths: Paths, asked: Asked) -> Public:
    settings = settings_of(paths)
    assert settings.public is not None
    public = judge(settings, settings.public, asked, load_secrets(paths.secrets)).settings.public
    assert public is not None
    return public


def own(endpoint: str, secret: str = KEY_SECRET, *, dry_run: bool = False) -> Asked:
    return Asked(provider="rfc2136", username=KEY_NAME, endpoint=endpoint, secret=secret,
                 dry_run=dry_run, as_json=True)  # fmt: skip


def test_what_is_not_typed_stays(paths: Paths) -> None:
    """The name of the server, and with the same provider everything, the token too."""
    public = judged(paths, Asked(provider="desec"))
    assert public == Public(ddns=Ddns(provider="desec", name=SERVER_NAME), sub_names=True)
    with pytest.raises(FieldError) as caught:
        judged(paths, Asked(provider="cloudflare"))
    assert caught.value.field == "secret"


def test_the_wizards_judgement_is_the_same_here(paths: Paths) -> None:
    for asked, field in (
        (Asked(provider="nonsense"), "provider"),
        (Asked(provider="duckdns", name="anna.example.org", secret="x"), "name"),
        (Asked(provider="noip", secret="x"), "username"),
        (Asked(provider="custom", username="a", secret="x", endpoint="http://plain"), "endpoint"),
    ):
        with pytest.raises(FieldError) as caught:
            judged(paths, asked)
        assert caught.value.field == field


def test_names_beneath_are_given_up_only_where_they_cannot_be(paths: Paths) -> None:
    assert judged(paths, Asked(provider="cloudflare", secret="x")).sub_names
    assert judged(paths, Asked(provider=OWN_DNS)).sub_names
    gone = Asked(provider="noip", username="a", secret="x")
    assert not judged(paths, gone).sub_names
    settings = settings_of(paths)
    assert settings.public is not None
    change = judge(settings, settings.public, gone, load_secrets(paths.secrets))
    assert f"chat.{SERVER_NAME} are given up" in change.note
    publish(paths, Public(sub_names=False))
    assert not judged(paths, Asked(provider="cloudflare", secret="x")).sub_names


def test_the_way_in_stays(paths: Paths) -> None:
    publish(paths, Public(way=Way.PORT, port=8448, ddns=Ddns(provider="desec", name=SERVER_NAME)))
    after = judged(paths, Asked(provider="cloudflare", secret="x"))
    assert (after.way, after.port) == (Way.PORT, 8448)


@pytest.mark.parametrize("way", [Way.HOME, Way.PORT])
def test_no_provider_without_txt_records_where_the_certificate_needs_them(
    paths: Paths, way: Way
) -> None:
    """No port 80 leads here: the certificate in use would be the last one."""
    ddns = Ddns(provider="desec", name=SERVER_NAME)
    publish(paths, Public(way=way, port=8448 if way is Way.PORT else 443, ddns=ddns))
    kept = paths.settings.read_bytes(), paths.secrets.read_bytes()
    asked = Asked(provider="noip", username="a", secret="x")
    for dry_run in (True, False):
        with pytest.raises(FieldError, match="TXT record") as caught:
            change_account(paths, RecordedUnits(), replace(asked, dry_run=dry_run))
        assert caught.value.field == "way"
    with pytest.raises(FieldError, match="TXT record"):
        judged(paths, Asked(provider=OWN_DNS))
    assert (paths.settings.read_bytes(), paths.secrets.read_bytes()) == kept


def test_no_provider_without_ipv6_for_a_way_of_ipv6(paths: Paths) -> None:
    publish(paths, Public(way=Way.IPV6, ddns=Ddns(provider="desec", name=SERVER_NAME)))
    with pytest.raises(FieldError, match="IPv6"):
        judged(paths, Asked(provider="namecheap", secret="x"))


def test_a_dry_run_asks_the_provider_and_changes_nothing(
    paths: Paths, zone: tuple[Zone, str], capsys: pytest.CaptureFixture[str]
) -> None:
    kept = paths.settings.read_bytes(), paths.secrets.read_bytes()
    units = RecordedUnits()
    assert change_account(paths, units, own(zone[1], dry_run=True)) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["provider"], said["name"], said["changed"]) == ("rfc2136", SERVER_NAME, False)
    assert "knows the key" in said["checked"]
    assert zone[0].updates == 0
    assert (paths.settings.read_bytes(), paths.secrets.read_bytes()) == kept
    assert not units.acts


def test_what_the_provider_refuses_changes_nothing(paths: Paths, zone: tuple[Zone, str]) -> None:
    kept = paths.settings.read_bytes(), paths.secrets.read_bytes()
    wrong = "d3Jvbmcgd3Jvbmcgd3Jvbmc="
    with pytest.raises(FieldError) as caught:
        change_account(paths, RecordedUnits(), own(zone[1], wrong))
    assert wrong not in caught.value.message
    assert (paths.settings.read_bytes(), paths.secrets.read_bytes()) == kept


def test_a_provider_in_trouble_is_no_judgement_of_the_account(paths: Paths) -> None:
    settings = settings_of(paths)
    assert settings.public is not None
    asked = own("127.0.0.1:9")
    change = judge(settings, settings.public, asked, load_secrets(paths.secrets))
    assert "does not answer" in try_account(paths, change).checked


def test_settings_and_token_are_saved_together(paths: Paths, zone: tuple[Zone, str]) -> None:
    settings = settings_of(paths)
    assert settings.public is not None
    change = judge(settings, settings.public, own(zone[1]), load_secrets(paths.secrets))
    with suppress(HearthError, OSError):  # the programs that check may be missing here
        save(paths, RecordedUnits(), settings, try_account(paths, change))
    assert settings_of(paths).public == change.settings.public
    secrets = load_secrets(paths.secrets)
    assert secrets == replace(SECRETS, ddns_secret=KEY_SECRET)
    assert KEY_SECRET not in paths.settings.read_text() + repr(change)


def test_settings_that_a_checker_refuses_are_taken_back_with_their_token(
    paths: Paths, zone: tuple[Zone, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the former provider would be shown the new one's."""
    program = paths.root / "refuses"
    program.write_text("#!/bin/sh\necho 'emerg: not this one' >&2\nexit 1\n")
    program.chmod(0o755)
    (paths.root / "etc/nginx").mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr("services.proxy.PROGRAM", program)
    kept = settings_of(paths), load_secrets(paths.secrets)
    with pytest.raises(CheckerError):
        change_account(paths, RecordedUnits(), own(zone[1]))
    assert (settings_of(paths), load_secrets(paths.secrets)) == kept


def test_the_token_is_read_and_never_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{TOKEN}\n"))
    assert read_secret() == TOKEN
    options = make_parser().parse_args(["ddns", "set", "--provider", "duckdns"])
    assert TOKEN not in repr(options)
    with pytest.raises(SystemExit):
        make_parser().parse_args(["ddns", "set", "--provider", "duckdns", "--token", TOKEN])


def test_set_wants_a_provider(tmp_path: Path) -> None:
    options = make_parser().parse_args(["--root", str(tmp_path), "ddns", "set"])
    with pytest.raises(UsageError):
        options.verb(Paths(tmp_path), options)
