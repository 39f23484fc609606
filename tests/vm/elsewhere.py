"""Matrix clients in another machine of the Internet in a box: its network, and its names."""

from __future__ import annotations

import asyncio
import ctypes
import ipaddress
import os
import socket
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import dns.exception
import dns.resolver

T = TypeVar("T")
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000  # linux/sched.h


def enter(pid: int) -> None:
    """Move this thread, and those that it starts, into the network of a process."""
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        if LIBC.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


class Loop(asyncio.SelectorEventLoop):
    """Asks one name server; this machine's own list of them means nothing in the box."""

    def __init__(self, nameserver: str) -> None:
        super().__init__()
        self._resolver = dns.resolver.Resolver(configure=False)
        self._resolver.nameservers = [nameserver]

    async def getaddrinfo(self, host: Any, port: Any, **named: Any) -> Any:
        address = await self.run_in_executor(None, self._look_up, str(host))
        return await super().getaddrinfo(address, port, **named)

    def _look_up(self, host: str) -> str:
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            pass
        try:
            return str(self._resolver.resolve(host, "A")[0])
        except dns.exception.DNSException as error:
            raise socket.gaierror(socket.EAI_NONAME, f"{host}: {error}") from error


class Elsewhere:
    """A thread with an event loop, from the beginning of the ``with`` to its end."""

    def __init__(self, pid: int, nameserver: str) -> None:
        self._pid = pid
        self._nameserver = nameserver
        self._loop: Loop | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Elsewhere:
        self._thread.start()
        assert self._ready.wait(10), "the thread did not get into its network"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def do(self, coroutine: Coroutine[Any, Any, T], *, seconds: float) -> T:
        """Run it there to its end, and no longer than so."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    def _run(self) -> None:
        enter(self._pid)
        self._loop = Loop(self._nameserver)
        asyncio.set_event_loop(self._loop)
        self._loop.call_soon(self._ready.set)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
