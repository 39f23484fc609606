"""Signatures against the specification's test vectors, and keys as both homeservers write them."""

from __future__ import annotations

import base64
import json

import pytest

from appliance.errors import ConfigError
from services.federation.sign import (
    SigningKey,
    authorize,
    canonical_json,
    decode_base64,
    encode_base64,
    is_signed,
    make_signing_key,
    read_signing_key,
    sign_json,
)

# Matrix specification, appendices, "Cryptographic Test Vectors".
SEED = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"
DOMAIN, IDENTITY = "domain", "ed25519:1"
EMPTY = "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"
DATA = "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"


@pytest.fixture
def key() -> SigningKey:
    return make_signing_key(IDENTITY, decode_base64(SEED))


def public(key: SigningKey) -> bytes:
    return key.private.public_key().public_bytes_raw()


@pytest.mark.parametrize(("value", "signature"), [({}, EMPTY), ({"one": 1, "two": "Two"}, DATA)])
def test_the_specifications_vectors(
    key: SigningKey, value: dict[str, object], signature: str
) -> None:
    signed = sign_json(value, DOMAIN, key)
    assert signed == {**value, "signatures": {DOMAIN: {IDENTITY: signature}}}
    assert is_signed(signed, DOMAIN, IDENTITY, public(key))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, "{}"),
        ({"one": 1, "two": "Two"}, '{"one":1,"two":"Two"}'),
        ({"b": "2", "a": "1"}, '{"a":"1","b":"2"}'),
        (json.loads('{"本": 2, "日": 1}'), '{"日":1,"本":2}'),
        ({"a": "日本語"}, '{"a":"日本語"}'),
        (json.loads(r'{"a": "\u65E5"}'), '{"a":"日"}'),
        ({"a": None, "c": [True, False], "d": -2}, '{"a":null,"c":[true,false],"d":-2}'),
    ],
)
def test_canonical_json_as_in_the_appendices(value: object, expected: str) -> None:
    assert canonical_json(value) == expected.encode()


@pytest.mark.parametrize("value", [{"a": 1.5}, [[1e100]], {"a": "\ud800"}])
def test_what_has_no_canonical_form(value: object) -> None:
    with pytest.raises(ValueError, match=r"whole|surrogates"):
        canonical_json(value)


def test_unsigned_and_other_signatures_are_no_part_of_it(key: SigningKey) -> None:
    value = {"one": 1, "two": "Two", "unsigned": {"age": 9}, "signatures": {"else": {"a:b": "c"}}}
    signed = sign_json(value, DOMAIN, key)
    assert signed["signatures"] == {"else": {"a:b": "c"}, DOMAIN: {IDENTITY: DATA}}
    assert signed["unsigned"] == {"age": 9}


@pytest.mark.parametrize(
    "change",
    [
        {"one": 2},
        {"signatures": {}},
        {"signatures": {DOMAIN: {IDENTITY: EMPTY}}},
        {"signatures": {DOMAIN: {IDENTITY: "no base64!"}}},
        {"signatures": {DOMAIN: {IDENTITY: 7}}},
        {"signatures": []},
        {"one": 1.5},
    ],
)
def test_a_changed_value_is_not_signed(key: SigningKey, change: dict[str, object]) -> None:
    signed = sign_json({"one": 1, "two": "Two"}, DOMAIN, key)
    assert not is_signed({**signed, **change}, DOMAIN, IDENTITY, public(key))
    assert not is_signed(signed, DOMAIN, IDENTITY, b"\x00" * 32)
    assert not is_signed(signed, DOMAIN, IDENTITY, b"short")


def test_a_request_is_signed_as_the_remote_will_verify_it(key: SigningKey) -> None:
    target = "/_matrix/federation/v1/query/profile?user_id=%40a%3Ab.org"
    header = authorize(key, origin=DOMAIN, destination="b.org", method="GET", target=target)
    scheme, _, rest = header.partition(" ")
    parts = dict(part.split("=", 1) for part in rest.split(","))
    assert scheme == "X-Matrix"
    assert set(parts) == {"origin", "destination", "key", "sig"}
    assert all(value.startswith('"') and value.endswith('"') for value in parts.values())
    request = {"method": "GET", "uri": target, "origin": DOMAIN, "destination": "b.org",
               "signatures": {DOMAIN: {IDENTITY: parts["sig"].strip('"')}}}  # fmt: skip
    assert is_signed(request, DOMAIN, IDENTITY, public(key))


def test_synapses_file() -> None:
    key = read_signing_key(f"ed25519 a_AbCd {SEED}\n")
    assert key.identity == "ed25519:a_AbCd"
    assert key.sign(b"{}") == EMPTY


def test_dendrites_file() -> None:
    seed = base64.b64encode(decode_base64(SEED)).decode()
    text = (
        "-----BEGIN MATRIX PRIVATE KEY-----\n"
        f"Key-ID: ed25519:AbCd12\n\n{seed}\n"
        "-----END MATRIX PRIVATE KEY-----\n"
    )
    key = read_signing_key(text)
    assert key.identity == "ed25519:AbCd12"
    assert key.sign(b"{}") == EMPTY


@pytest.mark.parametrize(
    "text",
    ["", "ed25519 a_b", f"rsa a_b {SEED}", "ed25519 a_b !!!secret!!!", f"ed25519 a_b {SEED[:20]}",
     "-----BEGIN MATRIX PRIVATE KEY-----\nsecret\n-----END MATRIX PRIVATE KEY-----"],
)  # fmt: skip
def test_a_damaged_key_is_an_error_that_tells_nothing_of_it(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_signing_key(text)
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    assert SEED[:20] not in f"{caught.value}"
    assert caught.value.__cause__ is None


def test_a_key_does_not_show_itself(key: SigningKey) -> None:
    assert "private" not in repr(key)


def test_base64_with_and_without_padding() -> None:
    for length in range(5):
        raw = b"\xff" * length
        assert "=" not in encode_base64(raw)
        assert decode_base64(encode_base64(raw)) == raw
        assert decode_base64(base64.b64encode(raw).decode()) == raw
