"""Rewriting secrets.toml: one at a time, and never one provider's token beside another provider."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import FieldError
from appliance.paths import Paths
from appliance.protocol import SaveAddress
from appliance.secretfile import change_secrets, hold_secrets, load_both, rewrite_secrets
from appliance.settings import Reach, Secrets, load_secrets, load_settings, save_toml
from firstboot.draft import DraftBook
from firstboot.stored import StoredDraft
from services.tunnel.keys import ensure_keys
from unit.services.appliance_files import make_appliance

BEFORE, AFTER = "the-first-provider's", "the-second-provider's"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return make_appliance(tmp_path)


def meanwhile(paths: Paths, act: Callable[[], object], others: Callable[[], object]) -> None:
    """``act`` begins while another one rewrites the secrets, and ends after it."""
    ended = threading.Event()

    def run() -> None:
        act()
        ended.set()

    thread = threading.Thread(target=run)
    with hold_secrets(paths):
        thread.start()
        assert not ended.wait(0.3), "nobody waited"
        others()
    thread.join()
    assert ended.is_set()


@pytest.mark.parametrize(
    "act",
    [ensure_keys, lambda paths: change_secrets(paths, lambda old: replace(old, form_secret="2"))],
)
def test_no_rewrite_takes_another_one_back(paths: Paths, act: Callable[[Paths], object]) -> None:
    """New keys of the tunnel while the owner sets a token."""
    meanwhile(
        paths,
        lambda: act(paths),
        lambda: rewrite_secrets(paths, lambda old: replace(old, ddns_secret=AFTER)),
    )
    secrets = load_secrets(paths.secrets)
    assert secrets.ddns_secret == AFTER
    assert secrets.tunnel_key or secrets.form_secret == "2"
    assert paths.secrets.stat().st_mode & 0o777 == 0o600


def test_settings_and_secrets_are_read_together(paths: Paths) -> None:
    settings = load_settings(paths.settings)
    assert settings is not None
    seen: list[object] = []
    other = replace(settings, owner=replace(settings.owner, name="bert"))

    def choose_another() -> None:
        save_toml(other, paths.settings, mode=0o640)
        time.sleep(0.1)
        rewrite_secrets(paths, lambda old: replace(old, ddns_secret=AFTER))

    meanwhile(paths, lambda: seen.extend(load_both(paths)), choose_another)
    assert seen == [other, load_secrets(paths.secrets)]


def test_what_does_not_change_is_not_written(paths: Paths) -> None:
    before = paths.secrets.stat().st_ino
    assert change_secrets(paths, lambda known: known) == load_secrets(paths.secrets)
    assert paths.secrets.stat().st_ino == before, "every write wears the card"


class Cut(DraftBook):
    """The power goes before the draft is written."""

    def _store(self, stored: StoredDraft) -> None:  # type: ignore[override]
        raise SystemExit(stored.provider)


def answer(provider: str, name: str, token: str) -> SaveAddress:
    return SaveAddress(session="", revision=0, provider=provider, name=name, secret=token)


def with_revision(book: DraftBook, request: SaveAddress) -> SaveAddress:
    return replace(request, revision=book.load().revision)


def test_the_draft_never_has_another_providers_token(paths: Paths) -> None:
    book = DraftBook(paths)
    book.save_server(0, "anna.duckdns.org", Reach.PUBLIC)
    book.save_address(with_revision(book, answer("duckdns", "anna.duckdns.org", BEFORE)))
    assert load_secrets(paths.secrets).ddns_secret == BEFORE
    other = answer("dynv6", "anna.dynv6.net", AFTER)
    with pytest.raises(SystemExit):
        Cut(paths).save_address(with_revision(book, other))
    assert book.load().provider == "duckdns"
    assert load_secrets(paths.secrets).ddns_secret == "", "DuckDNS must not see dynv6's"
    told = book.save_address(with_revision(book, other))
    assert (told.provider, told.has_ddns_secret) == ("dynv6", True)
    assert load_secrets(paths.secrets).ddns_secret == AFTER


def test_a_token_that_was_lost_that_way_is_asked_for(paths: Paths) -> None:
    book = DraftBook(paths)
    change_secrets(paths, lambda _: Secrets())
    book.save_owner(0, "anna", "Europe/Berlin", "correct horse battery")
    book.save_server(book.load().revision, "anna.duckdns.org", Reach.PUBLIC)
    book.save_address(with_revision(book, answer("duckdns", "anna.duckdns.org", BEFORE)))
    book.check_complete(book.load().revision)
    change_secrets(paths, lambda known: replace(known, ddns_secret=""))
    with pytest.raises(FieldError, match="token or password") as caught:
        book.check_complete(book.load().revision)
    assert caught.value.field == "secret"
