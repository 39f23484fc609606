"""The rules for what an owner may type, as tables."""

from __future__ import annotations

import zoneinfo

import pytest

from appliance.errors import FieldError
from appliance.settings import Reach
from appliance.validate import (
    check_owner_name,
    check_password,
    check_server_name,
    check_timezone,
)


@pytest.mark.parametrize(
    "name", ["example.org", "home.example.org", "a-b.example", "xn--bcher-kva.example", "1.example"]
)
def test_good_server_names(name: str) -> None:
    assert check_server_name(name, Reach.PUBLIC) == name


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("", "Choose"),
        ("192.0.2.7", "IP address"),
        ("192.0.2.7:8448", "IP address"),
        ("[2001:db8::1]", "IP address"),
        ("2001:db8::1", "IP address"),
        ("Example.org", "capital"),
        ("https://example.org", "web address"),
        ("example.org/", "web address"),
        ("localhost", "not a valid domain"),
        ("-a.example", "not a valid domain"),
        ("a_b.example", "not a valid domain"),
        ("a..example", "not a valid domain"),
        ("a.example.", "not a valid domain"),
        ("bücher.example", "not a valid domain"),
        ("a b.example", "not a valid domain"),
        ("example.org\n", "not a valid domain"),
        ("example.123", "number"),
        ("a" * 64 + ".example", "not a valid domain"),
        (".".join(["a" * 60] * 3) + ".example", "188 is the limit"),
    ],
)
@pytest.mark.parametrize("reach", list(Reach))
def test_bad_server_names(name: str, word: str, reach: Reach) -> None:
    with pytest.raises(FieldError, match=word) as caught:
        check_server_name(name, reach)
    assert caught.value.field == "server_name"


@pytest.mark.parametrize("name", ["hearth.local", "nas.lan", "box.internal"])
def test_home_network_names_are_for_the_home_network_only(name: str) -> None:
    assert check_server_name(name, Reach.LAN) == name
    with pytest.raises(FieldError, match="only on the home network"):
        check_server_name(name, Reach.PUBLIC)


@pytest.mark.parametrize(
    "name", ["anna", "a", "anna.b", "anna-b", "anna_1", "1anna", "1_984", "a" * 64]
)
def test_good_owner_names(name: str) -> None:
    assert check_owner_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Anna",
        "änna",
        "anna b",
        "_anna",
        "-anna",
        ".anna",
        "a" * 65,
        "anna\n",
        "@anna",
        "1984",
        "7",
    ],
)
def test_bad_owner_names(name: str) -> None:
    with pytest.raises(FieldError) as caught:
        check_owner_name(name)
    assert caught.value.field == "name"


def test_the_longest_names_together_fit_a_user_id() -> None:
    """Synapse takes 255 bytes and Dendrite 254, and both say no only when setup is nearly over."""
    server = f"{'.'.join(['a' * 60] * 2)}.{'b' * 58}.example"
    with pytest.raises(FieldError, match="is the limit"):
        check_server_name(f"b{server}", Reach.LAN)
    user = f"@{check_owner_name('c' * 64)}:{check_server_name(server, Reach.LAN)}"
    assert len(user) == 254


@pytest.mark.parametrize(
    "password",
    ["correct horse battery", "zP4!xq9Lm2", "ein langes Passwort", "four random words " * 4],
)
def test_good_passwords(password: str) -> None:
    assert check_password(password, name="anna") == password


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short",
        "password12",
        "1234567890",
        "aaaaaaaaaaaa",
        "annaannaanna",
        "raspberry1",
        "four random words " * 4 + "x",  # Dendrite: bcrypt takes 72 bytes
        "f\u00fcnf gr\u00fc\u00dfe " * 6,
        "four random\x00words",  # Synapse: "Invalid password"
    ],
)
def test_bad_passwords(password: str) -> None:
    with pytest.raises(FieldError) as caught:
        check_password(password, name="anna")
    assert caught.value.field == "password"
    assert not password or password not in caught.value.message


def test_time_zones() -> None:
    # /etc/localtime cannot lead to itself.
    for name in zoneinfo.available_timezones() - {"localtime"}:
        assert check_timezone(name) == name


@pytest.mark.parametrize(
    "bad",
    ["Europe/Berlln", "", ".", "Europe", "../../etc/passwd", "../zoneinfo/UTC", "Europe//Berlin",
     "/usr/share/zoneinfo/UTC", "zone.tab", "posix/UTC", "right/UTC", "posixrules", "localtime",
     "U\0TC", "\ud800", "x" * 5000],
)  # fmt: skip
def test_what_is_no_time_zone(bad: str) -> None:
    with pytest.raises(FieldError):
        check_timezone(bad)
