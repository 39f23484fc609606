"""The agent's client against peers that misbehave."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.errors import AccessError, FieldError
from appliance.protocol import Claim, GetStatus, encode_error
from setup_ui.client import AgentClient, AgentDownError
from unit.setup_ui.appliance_under_test import Appliance
from unit.setup_ui.browser import Browser

Answer = Callable[[socket.socket], None]


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hearth-") as name:
        yield Path(name) / "agent.sock"


def serve_once(place: Path, answer: Answer) -> threading.Thread:
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    door.bind(str(place))
    door.listen()

    def work() -> None:
        with door, door.accept()[0] as connection:
            answer(connection)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def make_client(place: Path, *, reply_seconds: float = 5.0) -> AgentClient:
    return AgentClient(place, connect_seconds=0.2, reply_seconds=reply_seconds)


@pytest.mark.parametrize(
    "reply",
    [b"", b"\n", b"not json\n", b'{"ok": true}\n', b'{"ok": true, "result": {"x": 1}}\n',
     b'{"ok": true, "result": {}', b"[]\n", b"\xff\xfe\n"],
)  # fmt: skip
def test_a_reply_that_is_not_one_means_that_the_agent_is_down(place: Path, reply: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(reply)

    thread = serve_once(place, answer)
    with pytest.raises(AgentDownError):
        make_client(place).status()
    thread.join(5)


def test_an_agent_that_hangs_is_given_up(place: Path) -> None:
    given_up = threading.Event()
    thread = serve_once(place, lambda connection: (given_up.wait(10), None)[1])
    with pytest.raises(AgentDownError, match="timed out"):
        make_client(place, reply_seconds=0.2).status()
    given_up.set()
    thread.join(5)


def test_an_agent_that_starts_late_is_waited_for(place: Path) -> None:
    started: list[threading.Thread] = []

    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(encode_error(AccessError("late", hint="but here")))

    timer = threading.Timer(0.3, lambda: started.append(serve_once(place, answer)))
    timer.start()
    client = AgentClient(place, connect_seconds=10, reply_seconds=5)
    with pytest.raises(AccessError, match="late") as caught:
        client.ask(GetStatus())
    assert caught.value.hint == "but here"
    timer.join()


def test_no_socket_means_down(place: Path) -> None:
    assert not make_client(place).is_up()
    with pytest.raises(AgentDownError, match="does not accept connections"):
        make_client(place).status()


def test_a_field_error_arrives_with_its_field(place: Path) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(encode_error(FieldError("code", "No.", hint="look again")))

    serve_once(place, answer)
    with pytest.raises(FieldError) as caught:
        make_client(place).ask(Claim(code="x", source="127.0.0.1"))
    assert (caught.value.field, caught.value.hint) == ("code", "look again")


def test_an_agent_that_talks_to_nobody_is_told_once(appliance: Appliance) -> None:
    """Its refusal is no ended session: sending to the front page would never end."""
    appliance.stop()

    def refuse(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(encode_error(AccessError("only the pages may talk to the agent")))

    appliance.paths.agent_socket.unlink(missing_ok=True)
    thread = serve_once(appliance.paths.agent_socket, refuse)
    browser = Browser(appliance.app).get("/")
    thread.join(5)
    assert browser.status == 409
    assert "only the pages may talk" in browser.text


def test_the_real_agent_answers(appliance: Appliance) -> None:
    client = make_client(appliance.paths.agent_socket)
    assert client.is_up()
    assert client.status().names == ("hearth.local", "hearth-ab12.local")
    assert client.last_status is not None
