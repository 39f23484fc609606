"""Tables at the edge: what is refused, and how helpfully."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import pytest

from appliance.errors import ConfigError
from appliance.tables import parse_table, to_table, without_unknown


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True, kw_only=True)
class Wheel:
    size: int
    spokes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Cart:
    name: str
    colour: Colour = Colour.RED
    price: float = 0.0
    wheels: tuple[Wheel, ...] = ()
    spare: Wheel | None = None
    loads: dict[str, int] = field(default_factory=dict)


FULL = {
    "name": "c",
    "colour": "green",
    "price": 2.5,
    "wheels": [{"size": 3, "spokes": ["a", "b"]}, {"size": 4, "spokes": []}],
    "spare": {"size": 5, "spokes": []},
    "loads": {"hay": 7},
}


def test_there_and_back_again() -> None:
    cart = parse_table(Cart, FULL, where="cart.toml")
    assert cart.colour is Colour.GREEN
    assert cart.wheels[0].spokes == ("a", "b")
    assert to_table(cart) == FULL


def test_none_is_left_out_and_comes_back() -> None:
    cart = Cart(name="c")
    assert "spare" not in to_table(cart)
    assert parse_table(Cart, to_table(cart), where="w") == cart


def test_whole_numbers_are_fine_where_a_fraction_is_wanted() -> None:
    assert parse_table(Cart, {"name": "c", "price": 2}, where="w").price == 2.0


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"colours": "red"}, "unknown key 'colours'", "'colour'"),
        ({"zzz": 1}, "unknown key 'zzz'", "known keys: colour"),
        ({"colour": "gren"}, "'gren' is not known", "'green'"),
        ({"name": 3}, "name: expected str, found 3", ""),
        ({"price": True}, "expected float", ""),
        ({"wheels": [{"size": True}]}, "expected int", ""),
        ({"wheels": {"size": 1}}, "wheels: expected a list", ""),
        ({"wheels": [{"sise": 1}]}, "wheels: unknown key 'sise'", "'size'"),
        ({"wheels": [{}]}, "key 'size' is missing", ""),
        ({"spare": 1}, "spare: expected a table", ""),
        ({"loads": {"hay": "much"}}, "loads.hay: expected int", ""),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_table(Cart, FULL | change, where="cart.toml")
    assert caught.value.message.startswith("cart.toml")
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ConfigError, match=r"cart\.toml: key 'name' is missing"):
        parse_table(Cart, {}, where="cart.toml")


def test_what_a_newer_version_wrote_is_left_out_at_every_depth() -> None:
    table = {
        "name": "cart",
        "brakes": {"size": 3},
        "wheels": [{"size": 3, "tyre": "rubber"}, {"size": 4}],
        "owner": {"name": "x"},
    }
    known = without_unknown(Cart, table)
    assert known["wheels"] == [{"size": 3}, {"size": 4}]
    assert "brakes" not in known
    # What is known keeps its form, and so is refused where that is wrong.
    assert without_unknown(Cart, {"wheels": "none"}) == {"wheels": "none"}
    assert without_unknown(Cart, ["no", "table"]) == ["no", "table"]
