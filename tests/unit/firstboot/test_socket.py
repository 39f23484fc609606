"""The agent behind its real socket: who, how much, how long, and any rubbish."""

from __future__ import annotations

import json
import random
import socket
import stat
import threading
import time
from pathlib import Path

from appliance.protocol import (
    MAX_LINE,
    REQUESTS,
    Claim,
    GetStatus,
    decode_reply,
    encode_request,
)
from firstboot.agent import Agent
from unit.firstboot.machine import Machine, exchange, served

GARBAGE = 10_000
STATUS = encode_request(GetStatus())


def rubbish(random_: random.Random) -> bytes:
    """Bytes, broken JSON, and requests with wrong, missing, huge and nested parts."""
    values = [None, True, -1, 1e308, "", "x" * 300, "\ud800", [], {}, [[]] * 5, {"a": {"b": []}}]
    kind = random_.randrange(6)
    if kind == 0:
        return random_.randbytes(random_.randrange(400))
    if kind == 1:
        good = bytearray(encode_request(Claim(code="ABCD-EFGH", source="x")))
        for _ in range(random_.randrange(1, 6)):
            good[random_.randrange(len(good))] = random_.randrange(256)
        return bytes(good)
    if kind == 2:
        return b"[" * random_.randrange(1, 20_000) + b"\n"
    op = random_.choice([*REQUESTS, "Nothing", "", "__class__", 7])
    names = ["session", "revision", "name", "timezone", "password", "code", "source", "reach",
             "software", "confirm", "passphrase", "__init__", "path"]  # fmt: skip
    chosen = random_.sample(names, random_.randrange(len(names)))
    arguments = {name: random_.choice(values) for name in chosen}
    table = {"v": random_.choice([1, 1, 1, 2, "1"]), "op": op, "args": arguments}
    if kind == 3:
        del table[random_.choice(list(table))]
    line = json.dumps(table).encode()
    return line[: random_.randrange(len(line))] if kind == 4 else line + b"\n"


def test_ten_thousand_pieces_of_rubbish_do_not_hurt_it(machine: Machine) -> None:
    """Every answer is an error of ours, none the one for what was not foreseen."""
    random_ = random.Random(20261122)
    agent = machine.agent
    # The guesses among them must not meet the back-off, or nothing behind it would be reached.
    for _ in range(GARBAGE):
        machine.clock.now += 100
        reply = json.loads(agent.answer(rubbish(random_)))
        assert reply["ok"] or "inside the appliance" not in reply["error"]["message"]
    assert machine.ask(GetStatus()).phase == "unclaimed"
    assert machine.host.acts == []


def test_rubbish_over_the_socket(machine: Machine) -> None:
    random_ = random.Random(7)
    with served(machine.agent) as path:
        for _ in range(500):
            exchange(path, rubbish(random_))
        status = decode_reply(GetStatus(), exchange(path, STATUS))
    assert status.phase == "unclaimed"


def test_a_line_may_come_in_pieces(machine: Machine) -> None:
    with served(machine.agent) as path, socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        for byte in STATUS:
            connection.send(bytes([byte]))
        assert decode_reply(GetStatus(), connection.recv(65536)).data == "ok"


def test_too_long_a_line_is_refused(machine: Machine) -> None:
    with served(machine.agent) as path:
        reply = json.loads(exchange(path, b"x" * (MAX_LINE + 5000) + b"\n", close=False))
        assert reply["error"]["message"] == "the request is too long"
        assert decode_reply(GetStatus(), exchange(path, STATUS)).data == "ok"


def test_silent_and_vanishing_peers_do_not_stop_the_others(machine: Machine) -> None:
    with served(machine.agent) as path:
        silent: list[socket.socket] = []
        for _ in range(15):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(path))
            silent.append(connection)
        for _ in range(50):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                connection.sendall(STATUS)
        start = time.monotonic()
        assert decode_reply(GetStatus(), exchange(path, STATUS)).data == "ok"
        assert time.monotonic() - start < 5
        for connection in silent:
            connection.close()


def test_many_at_once(machine: Machine) -> None:
    results: list[str] = []
    with served(machine.agent) as path:

        def ask() -> None:
            for _ in range(10):
                results.append(decode_reply(GetStatus(), exchange(path, STATUS)).data)

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert results == ["ok"] * 200


def test_the_socket_is_closed_to_others_and_a_stale_one_is_replaced(machine: Machine) -> None:
    path: Path = machine.paths.agent_socket
    path.touch()
    with served(machine.agent):
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert path.stat().st_mode & 0o777 == 0o660


def test_a_user_who_is_not_allowed_is_refused(machine: Machine) -> None:
    """The credentials are the kernel's (SO_PEERCRED); here the list of the allowed is emptied."""
    with served(machine.agent) as path:
        assert machine.agent._door is not None
        machine.agent._door._users = frozenset()
        reply = json.loads(exchange(path, STATUS))
    assert reply["error"]["kind"] == "AccessError"


def test_the_first_page_does_not_wait_for_the_claim_code(tmp_path: Path) -> None:
    """A question that needs the code waits until there is one, and is then answered."""
    machine = Machine(tmp_path)
    agent = Agent(machine.paths, host=machine.host, clock=machine.clock, prepare=False)
    with served(agent) as path:
        assert decode_reply(GetStatus(), exchange(path, STATUS)).phase == "unclaimed"
        replies: list[bytes] = []
        claim = encode_request(Claim(code="AAAA-AAAA", source="a"))
        thread = threading.Thread(target=lambda: replies.append(exchange(path, claim)))
        thread.start()
        thread.join(0.3)
        assert replies == []
        agent.prepare()
        thread.join(20)
        assert json.loads(replies[0])["error"]["message"] == "This is not the claim code."
