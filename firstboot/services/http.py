"""Asking our own services over HTTP: by Unix socket, or through nginx as a client would."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import NetworkError

ANSWER_SECONDS = 60
MAX_BODY = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body parsed. Raises NetworkError when it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise NetworkError(f"the answer is not JSON: {self.body[:80]!r}") from error


class UnixConnection(http.client.HTTPConnection):
    """http.client over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class LocalTlsConnection(http.client.HTTPSConnection):
    """HTTPS to this machine, whatever DNS says about the name: verified against ``authority``."""

    def __init__(self, name: str, authority: Path, timeout: float, port: int) -> None:
        self._context = ssl.create_default_context(cafile=str(authority))
        super().__init__(name, port, timeout=timeout, context=self._context)

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), self.timeout)
        self.sock = self._context.wrap_socket(plain, server_hostname=self.host)


def ask_socket(
    path: Path, url: str, *, body: Any = None, timeout: float = ANSWER_SECONDS
) -> Answer:
    """GET (or POST ``body`` as JSON) over a Unix socket. Raises NetworkError."""
    return _ask(UnixConnection(path, timeout), url, body, {}, what=str(path))


def ask_https(
    name: str,
    url: str,
    *,
    authority: Path,
    body: Any = None,
    token: str | None = None,
    timeout: float = ANSWER_SECONDS,
    port: int = 443,
) -> Answer:
    """The same through nginx as ``https://name``, with its certificate verified."""
    try:
        connection = LocalTlsConnection(name, authority, timeout, port)
    except (OSError, ssl.SSLError) as error:
        raise NetworkError(f"cannot use the certificate authority {authority}: {error}") from error
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return _ask(connection, url, body, headers, what=f"https://{name}")


def ask_http(host: str, url: str, *, timeout: float = ANSWER_SECONDS) -> Answer:
    """Plain HTTP to this machine under the name ``host``."""
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=timeout)
    return _ask(connection, url, None, {"Host": host}, what=f"http://{host}")


def _ask(
    connection: http.client.HTTPConnection,
    url: str,
    body: Any,
    headers: dict[str, str],
    *,
    what: str,
) -> Answer:
    raw = None if body is None else json.dumps(body).encode()
    if raw is not None:
        headers["Content-Type"] = "application/json"
    try:
        connection.request("GET" if raw is None else "POST", url, raw, headers)
        response = connection.getresponse()
        return Answer(
            status=response.status,
            headers=dict(response.getheaders()),
            body=response.read(MAX_BODY),
        )
    except (OSError, http.client.HTTPException) as error:
        reason = f"{error}" or type(error).__name__
        raise NetworkError(f"{what}{url} does not answer: {reason}") from error
    finally:
        connection.close()
