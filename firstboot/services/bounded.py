"""A stranger's answer to an HTTP request: bounded in size and, as a whole, in time.

No HTTP library has a limit for all of an answer: a byte now and then keeps it waiting. And what it
unpacks has no limit either: forty kilobytes of gzip are forty megabytes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from appliance.errors import DeadlineError, NetworkError

if TYPE_CHECKING:
    import requests

T = TypeVar("T")
# RFC 9110 section 12.5.3: nothing packed, please.
PLAIN = {"Accept-Encoding": "identity"}


def within(act: Callable[[], T], *, seconds: float) -> T:
    """What ``act`` returns or raises, if that comes in time; raises DeadlineError otherwise.

    What is late is left to itself, in a thread that ends with the process.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(act())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError as error:
        if future.done():
            raise  # its own
        raise DeadlineError(f"no answer within {seconds:.0f} s") from error


def read_plain(response: requests.Response, limit: int) -> bytes:
    """The first ``limit`` bytes as they were sent. Raises NetworkError for what is packed."""
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise NetworkError("it answers something packed, which nobody asked for")
    return bytes(response.raw.read(limit, decode_content=False))
