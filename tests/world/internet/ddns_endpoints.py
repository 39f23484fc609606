"""DDNS providers as HTTP servers that obey their contracts and note who does not.

One process speaks for all of them: which one is meant is told by the Host header, as in the world,
or fixed, as in unit tests. The world runs it under every provider's own name:

    python3 -m world.internet.ddns_endpoints --listen 198.51.100.20:443 --certificate C --key K

Accepted updates become visible in the world's DNS by RFC 2136. Under /control/PROVIDER, GET answers
what has been counted, and PUT sets the weather: one of MODES, or ``forgive``.
"""

from __future__ import annotations

import argparse
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

from world.internet.ddns_ledger import Entry, Ledger, Publish
from world.internet.ddns_providers import HANDLERS, HOSTS, Request, Response, as_json
from world.internet.places import KEYS, NAMESERVER, PROVIDER_KEY

PORTAL = "<!DOCTYPE html><html><head><title>Sign in to continue</title></head><body></body></html>"
CONTROL = "/control/"
USER = "anna"
SECRET = "a-secret-of-annas"
# The weather at a provider. ``fine`` is none of these.
MODES = ("fine", "html", "911", "dnserr", "500", "429", "hang-up", "abuse", "!donator", "echo",
         "redirect")  # fmt: skip


# The account's name at each provider; every provider has a ledger of its own.
NAMES = {
    "duckdns": "hearth.duckdns.org", "desec": "hearth.dedyn.io", "cloudflare": "example.net",
    "dynv6": "hearth.dynv6.net", "namecheap": "home.example.net", "freedns": "hearth.mooo.com",
    "noip": "hearth.ddns.net", "dynu": "hearth.freeddns.org", "ovh": "ovh.example.net",
    "he": "he.example.net", "dyn": "hearth.dyndns.org", "ipv64": "hearth.ipv64.net",
    "custom": "custom.example.net",
}  # fmt: skip


# Nothing in their documents keeps a name from leading to somebody's home network.
TAKE_PRIVATE = ("duckdns", "desec", "cloudflare", "dynv6")


class Server(ThreadingHTTPServer):
    """Speaks for the only provider in ``ledgers``, or for the one that the Host header means."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], ledgers: Mapping[str, Ledger]) -> None:
        super().__init__(address, Handler)
        self.ledgers = ledgers

    @property
    def url(self) -> str:
        host, port = cast("tuple[str, int]", self.server_address[:2])
        return f"http://{host}:{port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        """Requests carry tokens."""

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        headers = {key.lower(): value for key, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self.rfile.read(length))
        response = self._answer(request)
        if response is None:
            self.close_connection = True
            return
        body = response.text.encode()
        self.send_response(response.status)
        self.send_header("Content-Type", response.kind)
        self.send_header("Content-Length", str(len(body)))
        for key, value in response.headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve

    def _answer(self, request: Request) -> Response | None:
        ledgers = self.server.ledgers
        if request.path.startswith(CONTROL):
            return control(request, ledgers[request.path.removeprefix(CONTROL)])
        host = request.headers.get("host", "").partition(":")[0]
        provider = next(iter(ledgers)) if len(ledgers) == 1 else HOSTS.get(host)
        if provider is None:
            return Response(f"no provider is called {host!r}", 421)
        ledger = ledgers[provider]
        with ledger.lock:
            ledger.came(f"{request.method} {request.path}", request.headers.get("user-agent", ""))
            if ledger.mode == "fine":
                return HANDLERS[provider](request, ledger)
            return weather(ledger, request)


def weather(ledger: Ledger, request: Request) -> Response | None:
    """What comes instead of an answer; None hangs up."""
    match ledger.mode:
        case "html":
            return Response(PORTAL, kind="text/html")
        case "911":
            # noip.com/integrate/response: wait 30 minutes before the next one.
            ledger.be_left_alone(30 * 60)
            return Response("911")
        case "dnserr":
            return Response("dnserr")
        case "500":
            return Response("Internal Server Error", 500)
        case "429":
            ledger.be_left_alone(600)
            return Response("slow down", 429, headers={"Retry-After": "600"})
        case "abuse" | "!donator" as word:
            return Response(ledger.refuse(word))
        case "redirect":
            return Response("", 302, headers={"Location": request.url})
        case "echo":
            # A provider in trouble that shows the request, with everything in it.
            return Response(f"cannot handle {request.url} {request.headers}", 400)
        case _:
            return None


def control(request: Request, ledger: Ledger) -> Response:
    word = request.body.decode().strip()
    if request.method == "PUT" and word == "forgive":
        ledger.forgive()
    elif request.method == "PUT" and word in MODES:
        ledger.mode = word
    elif request.method == "PUT":
        return Response(f"{word!r} is none of {', '.join(MODES)}", 400)
    return as_json({
        "mode": ledger.mode,
        "requests": ledger.requests,
        "updates": ledger.updates,
        "breaches": ledger.breaches,
        "names": {name: entry.records for name, entry in ledger.names.items()},
    })  # fmt: skip


@contextmanager
def serve(provider: str, ledger: Ledger) -> Iterator[Server]:
    """One provider on a free port of the loopback, without TLS."""
    with Server(("127.0.0.1", 0), {provider: ledger}) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def publish_by_update(server: str, port: int, key_name: str, key_secret: str) -> Publish:
    """Records go to the world's name server by DNS UPDATE, as a provider's would."""
    import dns.query
    import dns.rcode
    import dns.resolver
    import dns.tsig
    import dns.update

    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [server], port

    def publish(name: str, kind: str, values: tuple[str, ...]) -> None:
        zone = dns.resolver.zone_for_name(f"{name}.", resolver=resolver)
        message = dns.update.UpdateMessage(zone)
        message.use_tsig(dns.tsig.Key(key_name, key_secret, "hmac-sha256"))
        owner = f"{name}."
        message.delete(owner, kind)
        for value in values:
            text = {"TXT": f'"{value}"', "CNAME": f"{value}."}.get(kind, value)
            message.add(owner, 60, kind, text)
        answer = dns.query.tcp(message, server, timeout=10, port=port)
        if answer.rcode() != dns.rcode.NOERROR:
            refused = dns.rcode.to_text(answer.rcode())
            raise RuntimeError(f"{server} refuses to publish {name}: {refused}")

    return publish


def with_sub_names(publish: Publish) -> Publish:
    """DuckDNS answers for everything beneath a name as for the name itself (its FAQ)."""

    def both(name: str, kind: str, values: tuple[str, ...]) -> None:
        publish(name, kind, values)
        publish(f"*.{name}", kind, values)

    return both


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--certificate", help="a PEM file for all the providers' names")
    parser.add_argument("--key")
    parser.add_argument("--user", default=USER)
    parser.add_argument("--secret", default=SECRET)
    options = parser.parse_args()
    publish = publish_by_update(NAMESERVER, 53, PROVIDER_KEY, KEYS[PROVIDER_KEY])
    ledgers = {
        provider: Ledger(
            user=options.user,
            secret=options.secret,
            names={name: Entry()},
            publish=with_sub_names(publish) if provider == "duckdns" else publish,
            takes_private=provider in TAKE_PRIVATE,
        )
        for provider, name in NAMES.items()
    }
    host, _, port = options.listen.rpartition(":")
    with Server((host, int(port)), ledgers) as server:
        if options.certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(options.certificate, options.key)
            # The handshake comes with the first read, in the request's own thread.
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        print(json.dumps({"listening": options.listen}), flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
