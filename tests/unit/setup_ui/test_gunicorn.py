"""The wizard as the appliance runs it: gunicorn on a Unix socket, asked as nginx would."""

from __future__ import annotations

import http.client
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from setup_ui.onlink import load_networks

START_SECONDS = 60


class NginxLike(http.client.HTTPConnection):
    """HTTP over a Unix socket, with what nginx adds (overlays: etc/nginx/hearth-ui.conf)."""

    def __init__(self, place: Path, *, source: str = "127.0.0.1", scheme: str = "http") -> None:
        super().__init__("hearth.local", timeout=10)
        self.place = place
        self.extra = {"X-Real-IP": source, "X-Forwarded-Proto": scheme}

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self.place))

    def get(self, path: str) -> tuple[http.client.HTTPResponse, bytes]:
        self.request("GET", path, headers=self.extra)
        response = self.getresponse()
        body = response.read()
        self.close()
        return response, body


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hearth-") as name:
        socket_path = Path(name) / "ui.sock"
        environment = os.environ | {
            "HEARTH_UI_BIND": f"unix:{socket_path}",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        log = (Path(name) / "log").open("w+")
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--config", "python:setup_ui.gunicorn_conf",
             "setup_ui:create_app()"],
            env=environment, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            wait_until(
                lambda: process.poll() is not None or _answers(socket_path),
                seconds=START_SECONDS,
                what="gunicorn's first answer",
            )
            assert process.poll() is None, Path(log.name).read_text()
            yield socket_path
        finally:
            process.terminate()
            process.wait(20)
            log.close()


def _answers(place: Path) -> bool:
    connection = NginxLike(place)
    try:
        return connection.get("/healthz")[0].status == 200
    except OSError:
        return False
    finally:
        connection.close()


def test_it_serves_without_an_agent(place: Path) -> None:
    response, body = NginxLike(place).get("/healthz")
    assert (response.status, body.strip()) == (200, b'{"ok":true}')


def test_the_socket_is_for_owner_and_group(place: Path) -> None:
    assert stat.S_IMODE(place.stat().st_mode) == 0o660


def test_the_browsers_address_is_nginx_word(place: Path) -> None:
    assert NginxLike(place, source="203.0.113.5").get("/healthz")[0].status == 403
    assert NginxLike(place, source="").get("/healthz")[0].status == 403
    for network in load_networks():
        assert NginxLike(place, source=str(network[-1])).get("/healthz")[0].status == 200


@pytest.mark.parametrize(("scheme", "secure"), [("http", False), ("https", True)])
def test_nginx_tells_whether_the_browser_speaks_https(
    place: Path, scheme: str, secure: bool
) -> None:
    response, _ = NginxLike(place, scheme=scheme).get("/no-such-page")
    assert response.status == 404
    connection = NginxLike(place, scheme=scheme)
    connection.request(
        "POST", "/claim", headers=connection.extra | {"Origin": "https://hearth.local"}
    )
    body = connection.getresponse().read()
    connection.close()
    # Our own Origin gets as far as the token; another scheme is another site.
    assert (b"too old" in body) is secure
    assert (b"another site" in body) is not secure
