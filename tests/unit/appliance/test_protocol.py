"""The wire between pages and agent: everything known comes through, nothing else does."""

from __future__ import annotations

import json

import pytest

from appliance.errors import ConfigError, FieldError, HearthError, error_classes
from appliance.protocol import (
    REQUESTS,
    RESULTS,
    Claim,
    GetStatus,
    SaveServer,
    Session,
    SignIn,
    decode_reply,
    decode_request,
    encode_error,
    encode_request,
    encode_result,
)
from appliance.settings import Reach


def test_every_request_has_a_result() -> None:
    assert set(RESULTS) == set(REQUESTS.values())


def test_a_request_comes_through() -> None:
    request = SaveServer(session="s", revision=3, name="home.example.org", reach=Reach.PUBLIC)
    line = encode_request(request)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_request(line) == request


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        b"[]",
        b'{"v": 1}',
        b'{"v": 2, "op": "GetStatus", "args": {}}',
        b'{"v": 1, "op": "Status", "args": {}}',
        b'{"v": 1, "op": ["GetStatus"], "args": {}}',
        b'{"v": 1, "op": "__class__", "args": {}}',
        b'{"v": 1, "op": "GetStatus", "args": {"path": "/etc/shadow"}}',
        b'{"v": 1, "op": "GetStatus", "args": []}',
        b'{"v": 1, "op": "Claim", "args": {"code": 1, "source": "x"}}',
        b'{"v": 1, "op": "Claim", "args": {"code": "x"}}',
        b"\xff\xfe",
    ],
)
def test_anything_else_is_refused_politely(line: bytes) -> None:
    with pytest.raises(ConfigError):
        decode_request(line)


def test_a_result_comes_through() -> None:
    request = Claim(code="c", source="s")
    assert decode_reply(request, encode_result(Session(token="t"))) == Session(token="t")


@pytest.mark.parametrize("kind", [cls for cls in error_classes() if cls is not FieldError])
def test_errors_keep_their_class(kind: type[HearthError]) -> None:
    with pytest.raises(kind) as caught:
        decode_reply(GetStatus(), encode_error(kind("what", hint="do")))
    assert type(caught.value) is kind
    assert (caught.value.message, caught.value.hint) == ("what", "do")


def test_field_errors_keep_their_field() -> None:
    with pytest.raises(FieldError) as caught:
        decode_reply(GetStatus(), encode_error(FieldError("password", "short")))
    assert caught.value.field == "password"


def test_an_error_of_a_newer_agent_is_still_an_error() -> None:
    line = json.loads(encode_error(HearthError("what")))
    line["error"]["kind"] = "NotYetInventedError"
    with pytest.raises(HearthError, match="what"):
        decode_reply(GetStatus(), json.dumps(line).encode())


def test_secrets_do_not_show_in_a_log() -> None:
    for request in (
        Claim(code="SECRET", source="x"),
        SignIn(password="SECRET", source="x"),
    ):
        assert "SECRET" not in repr(request)
