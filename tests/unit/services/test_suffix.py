"""The public suffix list as Debian has it, and what it says about the names of our providers."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import MissingToolError
from services.ddns.form import shared_domain_warning
from services.ddns.providers import PROVIDERS, find_provider
from services.suffix import Suffixes, load_suffixes

# The examples of publicsuffix.org/list, and one with a name that is not ASCII.
RULES = Suffixes(frozenset({"com", "jp", "ac.jp", "*.ck", "!www.ck", "xn--p1ai", "duckdns.org"}))


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("com", None), ("example.com", "example.com"), ("a.b.example.com", "example.com"),
        ("test.jp", "test.jp"), ("ac.jp", None), ("a.test.ac.jp", "test.ac.jp"),
        ("ck", None), ("test.ck", None), ("a.b.test.ck", "b.test.ck"),
        ("www.ck", "www.ck"), ("a.www.ck", "www.ck"), ("unknown.unlisted", "unknown.unlisted"),
        ("Example.COM.", "example.com"), ("x.xn--p1ai", "x.xn--p1ai"),
        ("duckdns.org", None), ("chat.me.duckdns.org", "me.duckdns.org"),
    ],
)  # fmt: skip
def test_registered_domain(name: str, domain: str | None) -> None:
    assert RULES.registered_domain(name) == domain


def test_unicode_rules_are_met_by_ascii_names() -> None:
    assert load_suffixes().registered_domain("a.b.xn--p1ai") == "b.xn--p1ai"


def test_missing_list_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(MissingToolError) as caught:
        load_suffixes(tmp_path / "none.dat")
    assert "publicsuffix" in (caught.value.hint or "")


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.id)
def test_table_says_what_the_list_says(provider) -> None:
    suffixes = load_suffixes()
    listed = {suffix: suffixes.is_public(suffix) for suffix in provider.suffixes}
    assert set(listed.values()) <= {provider.public_suffix}, listed
    assert bool(provider.suffixes) is (provider.public_suffix is not None)


@pytest.mark.parametrize(
    ("provider", "name", "is_shared"),
    [
        ("duckdns", "me.duckdns.org", False), ("freedns", "me.mooo.com", True),
        ("freedns", "me.somebodys.example", True), ("ipv64", "me.ipv64.net", True),
        ("desec", "home.example.org", False), ("duckdns", "duckdns.org", True),
    ],
)  # fmt: skip
def test_shared_limits_are_told(provider: str, name: str, is_shared: bool) -> None:
    assert bool(shared_domain_warning(name, find_provider(provider), load_suffixes())) is is_shared
