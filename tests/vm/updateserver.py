"""An update server: nginx over a directory of static files, which counts what it is asked for."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from appliance.deadline import wait_until
from imagebuild.vm import tool
from vm.guest import free_port
from world.tree import ensure_tree

# Seen from inside QEMU's own network, this machine.
HOST = "10.0.2.2"
CONFIG = """\
daemon off;
worker_processes 1;
error_log {work}/error.log;
pid {work}/nginx.pid;
events {{ }}
http {{
    log_format counted '$msec $status $request_length $bytes_sent $request_uri';
    access_log {work}/access.log counted;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    default_type application/octet-stream;
    {extra}
    server {{
        listen 127.0.0.1:{port};
        root {site};
        {server}
    }}
}}
"""


@dataclass(frozen=True)
class Asked:
    """One request; sizes in bytes, header and body together, without TLS or TCP."""

    at: float
    status: int
    received: int
    sent: int
    path: str


@dataclass
class UpdateServer:
    """``site`` is the directory of `hearth release`; ``work`` gets the logs.

    ``extra`` and ``server`` are lines of nginx.conf, for the http and the server block.
    """

    site: Path
    work: Path
    extra: str = ""
    server: str = ""
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        for path in (self.work, self.site):  # nginx' workers are not root
            path.chmod(0o755)
        config = self.work / "nginx.conf"
        config.write_text(CONFIG.format(**vars(self)))
        argv = [*tool(ensure_tree(), "nginx"), "-c", str(config), "-p", str(self.work)]
        argv += ["-e", str(self.work / "error.log")]
        self._process = subprocess.Popen(argv)
        wait_until(self._listens, seconds=20, what="the update server", every=0.1)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.work / "error.log").read_text()
        return (self.work / "nginx.pid").exists()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    @contextmanager
    def saying(self, lines: str) -> Iterator[None]:
        """For a while, with other lines in the server block of nginx.conf."""
        usual = self.server
        self._restart(lines)
        try:
            yield
        finally:
            self._restart(usual)

    def _restart(self, lines: str) -> None:
        self.stop()
        self.server = lines
        self.start()

    def asked(self, *, since: float = 0) -> list[Asked]:
        """Every request that was answered, in order."""
        lines = (self.work / "access.log").read_text().splitlines()
        rows = (line.split(maxsplit=4) for line in lines)
        every = [Asked(float(at), int(status), int(received), int(sent), path)
                 for at, status, received, sent, path in rows]  # fmt: skip
        return [one for one in every if one.at >= since]

    def sent(self, part: str, *, since: float = 0) -> int:
        """Bytes of the answers for paths with ``part``."""
        return sum(one.sent for one in self.asked(since=since) if part in one.path)

    def now(self) -> float:
        return time.time()

    def __enter__(self) -> UpdateServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
