"""One HTTPS request to one address, under the name that its certificate must be for.

Whoever runs a server may name it as they like, also after a machine in our home: an address that
is not public is never connected to. What comes back is bounded in size and, as a whole, in time.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from appliance.deadline import Deadline
from services.wan import is_publishable

CONNECT_SECONDS = 6.0
ANSWER_SECONDS = 20.0
MAX_BODY = 256 * 1024
AGENT = "Hearth"
LATE = "no answer in time"
# OpenSSL's X509_V_ERR_*, x509_vfy.h.
EXPIRED, NOT_YET_VALID, WRONG_NAME, WRONG_ADDRESS = 10, 9, 62, 64


class Fault(StrEnum):
    """What came in between. ``silent``: nothing at all, as behind a closed router."""

    SILENT = "silent"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    PRIVATE = "private"
    EXPIRED = "expired"
    WRONG_NAME = "wrong-name"
    UNTRUSTED = "untrusted"
    GARBLED = "garbled"
    STATUS = "status"


CERTIFICATE_FAULTS = (Fault.EXPIRED, Fault.WRONG_NAME, Fault.UNTRUSTED)


class FetchError(Exception):
    """Outside the HearthError tree: what it means is for the caller to say."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Raises FetchError(GARBLED) for what is not JSON: a web page, for example."""
        try:
            return json.loads(self.body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            said = " ".join(self.body[:80].decode(errors="replace").split())
            raise FetchError(Fault.GARBLED, f"not JSON, but {said!r}") from None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where to connect, the name that the certificate must be for, and the Host header."""

    address: str
    port: int
    name: str
    host: str

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else self._plain

    @property
    def _plain(self) -> str:
        return f"{self.address}:{self.port}"


def dial(address: str, port: int, seconds: float) -> socket.socket:
    return socket.create_connection((address, port), seconds)


def trust() -> ssl.SSLContext:
    """The system's authorities, as other homeservers use them: from Python 3.13 on the default is
    stricter about forms (RFC 5280) than any of them is.
    """
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@dataclass(frozen=True, kw_only=True)
class Web:
    """How connections are made and whom they trust; tests bring their own.

    ``may_dial``: private addresses are for nobody but our own front door. ``deadline`` is for all
    requests together, ``seconds`` for one.
    """

    dial: Callable[[str, int, float], socket.socket] = dial
    context: Callable[[], ssl.SSLContext] = trust
    may_dial: Callable[[str], bool] = is_publishable
    seconds: float = ANSWER_SECONDS
    deadline: Deadline | None = None

    def get(
        self,
        place: Place,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        limit: int = MAX_BODY,
    ) -> Reply:
        """One GET. Raises FetchError."""
        if not self.may_dial(place.address):
            raise FetchError(
                Fault.PRIVATE, f"{place.address} is no public address, or one of our own"
            )
        plain = self._connect(place)
        # Connecting may have taken all of the time, and then ``_left`` raises.
        with plain, _ending(plain, self._left(self.seconds)) as is_late:
            try:
                reply = self._ask(plain, place, path, headers or {}, limit)
            except ssl.SSLCertVerificationError as error:
                raise _distrust(error) from error
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise _explain(error, is_late=is_late()) from error
            if is_late():  # what was read until then may look like a whole answer
                raise FetchError(Fault.SILENT, LATE)
            return reply

    def _connect(self, place: Place) -> socket.socket:
        try:
            return self.dial(place.address, place.port, self._left(CONNECT_SECONDS))
        except OSError as error:
            raise _explain(error, is_late=False) from error

    def _left(self, seconds: float) -> float:
        """Raises FetchError when nothing is left."""
        if self.deadline is None:
            return seconds
        if self.deadline.expired:
            raise FetchError(Fault.SILENT, LATE)
        return min(seconds, self.deadline.remaining)

    def _ask(
        self, plain: socket.socket, place: Place, path: str, headers: Mapping[str, str], limit: int
    ) -> Reply:
        plain.settimeout(self.seconds)
        # Not closed by itself when the handshake fails; ``get`` holds the plain one as well.
        with self.context().wrap_socket(plain.dup(), server_hostname=place.name) as tls:
            connection = http.client.HTTPConnection("localhost")  # it is connected already
            connection.sock = tls
            sent = {"Host": place.host, "User-Agent": AGENT, "Connection": "close", **headers}
            connection.request("GET", path, headers=sent)
            with connection.getresponse() as answer:
                body = answer.read(limit + 1)
                if len(body) > limit:
                    raise FetchError(Fault.GARBLED, f"more than {limit // 1024} KiB")
                return Reply(status=answer.status, headers=dict(answer.getheaders()), body=body)


@contextmanager
def _ending(plain: socket.socket, seconds: float) -> Iterator[Callable[[], bool]]:
    """Cuts the connection after ``seconds``: a peer that sends a byte now and then is not waited
    for longer than one that sends nothing. Yields whether that has happened.
    """
    late = threading.Event()

    def cut() -> None:
        late.set()
        try:
            plain.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended by itself

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield late.is_set
    finally:
        timer.cancel()


def _explain(error: Exception, *, is_late: bool) -> FetchError:
    if is_late or isinstance(error, TimeoutError):
        return FetchError(Fault.SILENT, LATE)
    if isinstance(error, ConnectionRefusedError):
        return FetchError(Fault.REFUSED, "the connection is refused")
    if isinstance(error, ssl.SSLError):
        return FetchError(Fault.GARBLED, f"no TLS: {error.reason or error}")
    if isinstance(error, ConnectionResetError | http.client.HTTPException | ValueError):
        return FetchError(Fault.GARBLED, f"no HTTP answer: {type(error).__name__}")
    reason = error.strerror if isinstance(error, OSError) else ""
    return FetchError(Fault.UNREACHABLE, reason or type(error).__name__)


def _distrust(error: ssl.SSLCertVerificationError) -> FetchError:
    fault = {
        EXPIRED: Fault.EXPIRED,
        NOT_YET_VALID: Fault.EXPIRED,
        WRONG_NAME: Fault.WRONG_NAME,
        WRONG_ADDRESS: Fault.WRONG_NAME,
    }.get(error.verify_code, Fault.UNTRUSTED)
    return FetchError(fault, f"its certificate is not accepted: {error.verify_message}")


def _no_constant(name: str) -> float:
    """NaN and Infinity are Python's, not JSON's (RFC 8259 section 6)."""
    raise ValueError(name)
