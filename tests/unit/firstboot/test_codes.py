from __future__ import annotations

import pytest

from appliance.errors import ConfigError
from firstboot.codes import (
    ALPHABET,
    check_preset_code,
    is_same_code,
    make_code,
    normalise_code,
    show_code,
)


def test_a_code_has_forty_bits_and_uses_the_whole_alphabet() -> None:
    codes = [make_code() for _ in range(2000)]
    assert len(set(codes)) == 2000
    assert {len(code) for code in codes} == {8}
    for place in range(8):
        assert {code[place] for code in codes} == set(ALPHABET)


def test_it_is_shown_with_a_hyphen() -> None:
    assert show_code("ABCD1234") == "ABCD-1234"


@pytest.mark.parametrize(
    "typed",
    ["A0C1-1XYZ", "a0c1-1xyz", "A0C11XYZ", " a0c1 1xyz ", "AOCI-LXYZ", "aoci\u2011lxyz"],
)
def test_what_people_type_for_it(typed: str) -> None:
    assert is_same_code(typed, "A0C1-1XYZ")


@pytest.mark.parametrize("typed", ["", "A0C1-1XY", "A0C1-1XYZ0", "B0C1-1XYZ", "\ud800"])
def test_what_is_another_code(typed: str) -> None:
    assert not is_same_code(typed, "A0C1-1XYZ")


@pytest.mark.parametrize("code", ["seven purple kettles", "K7QP-9M2X-44", "blau-9-wiese-7"])
def test_good_presets(code: str) -> None:
    assert check_preset_code(code) == code


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("short", "is the least"),
        ("aaaaaaaaaaaa", "easy to guess"),
        ("1234567890", "easy to guess"),
        ("hearth password", "easy to guess"),
        ("kettle/../purple", "only letters"),
        ("x1y2z3" * 20, "longer than"),
    ],
)
def test_bad_presets_say_why(code: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        check_preset_code(code)
    assert caught.value.hint
    assert code not in caught.value.message or code == "short"


def test_normalising_twice_changes_nothing() -> None:
    for _ in range(100):
        code = make_code()
        assert normalise_code(normalise_code(show_code(code))) == code
