"""A Debian mirror on loopback with real .deb files, and one that tampers with them."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from imagebuild.packages import Package


class Mirror:
    """Serves ``files`` by path below /debian/; ``everything`` answers all other paths."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.everything: bytes | None = None
        self.status = 200
        self.requests: list[str] = []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.requests.append(self.path)
                name = self.path.removeprefix("/debian/")
                body = mirror.files.get(name, mirror.everything)
                self.send_response(404 if body is None else mirror.status)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/debian"


@contextmanager
def running_mirror() -> Iterator[Mirror]:
    mirror = Mirror()
    thread = threading.Thread(target=mirror.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield mirror
    finally:
        mirror.server.shutdown()
        mirror.server.server_close()
        thread.join()


def make_deb(directory: Path, name: str, text: str = "content") -> tuple[Package, bytes]:
    """A real package, as dpkg-deb makes it, and its record as an index would hold it."""
    tree = directory / name
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/share" / name).mkdir(parents=True)
    (tree / "usr/share" / name / "file").write_text(text)
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: 1:2-3\nArchitecture: all\nMaintainer: T <t@example.org>\n"
        "Description: for a test\n"
    )
    deb = directory / f"{name}.deb"
    subprocess.run(
        ["dpkg-deb", "-Znone", "--root-owner-group", "--build", tree, deb],
        check=True,
        capture_output=True,
    )
    content = deb.read_bytes()
    package = Package(
        name=name,
        version="1:2-3",
        architecture="all",
        filename=f"pool/main/{name[0]}/{name}.deb",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )
    return package, content
