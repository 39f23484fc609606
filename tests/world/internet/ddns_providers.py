"""What each DDNS provider answers, word for word, as its own documentation has it.

Every function takes a request and the provider's ledger and returns the answer. Sources: the
documents named in services/ddns/*.py. Nobody here knows anything of the client under test.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from world.internet.ddns_ledger import Entry, Ledger


@dataclass(frozen=True)
class Request:
    method: str
    url: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, str]:
        found = parse_qs(urlsplit(self.url).query, keep_blank_values=True)
        return {key: values[0] for key, values in found.items()}

    @property
    def basic(self) -> tuple[str, str]:
        kind, _, value = self.headers.get("authorization", "").partition(" ")
        if kind != "Basic":
            return "", ""
        user, _, secret = base64.b64decode(value).decode().partition(":")
        return user, secret


@dataclass(frozen=True)
class Response:
    text: str
    status: int = 200
    kind: str = "text/plain"
    headers: dict[str, str] = field(default_factory=dict)


def as_json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value), status, "application/json")


def dyndns2(request: Request, ledger: Ledger) -> Response:
    """help.dyn.com/remote-access-api/return-codes"""
    if request.path != "/nic/update":
        return Response("<html><title>404</title></html>", 404, "text/html")
    if request.basic != (ledger.user, ledger.secret):
        return Response(ledger.refuse("badauth"), 401)
    name = request.query.get("hostname", "")
    if "." not in name:
        return Response(ledger.refuse("notfqdn"))
    if name not in ledger.names:
        return Response(ledger.refuse("nohost"))
    given: dict[str, str | None] = {}
    for address in request.query.get("myip", "").split(","):
        if address and address != "no":
            given["AAAA" if ":" in address else "A"] = address
    if request.query.get("myipv6"):
        given["AAAA"] = request.query["myipv6"]
    if not given:
        ledger.breaches.append("an update without an address, to find it out")
    word = "good" if ledger.set_addresses(name, given) else "nochg"
    return Response(f"{word} {','.join(ledger.addresses(name))}\r\n")


def duckdns(request: Request, ledger: Ledger) -> Response:
    """www.duckdns.org/spec.jsp"""
    query = request.query
    name = f"{query.get('domains', '')}.duckdns.org"
    if query.get("token") != ledger.secret or name not in ledger.names:
        ledger.refuse("KO")
        return Response("KO")
    if "txt" in query:
        value = () if query.get("clear") == "true" else (query["txt"],)
        ledger.set_records(name, "TXT", value)
        return Response(f"OK\n{query['txt']}\nUPDATED" if query.get("verbose") else "OK")
    if query.get("clear") == "true":
        ledger.set_addresses(name, {"A": None, "AAAA": None})
        return Response("OK")
    given: dict[str, str | None] = {}
    if query.get("ipv6"):
        given["AAAA"] = query["ipv6"]
    if query.get("ip"):
        given["A"] = query["ip"]
    if not given:
        ledger.breaches.append("an update without an address, to find it out")
    word = "UPDATED" if ledger.set_addresses(name, given) else "NOCHANGE"
    return Response(f"OK\n{query.get('ip', '')}\n{query.get('ipv6', '')}\n{word}")


def desec_update(request: Request, ledger: Ledger) -> Response:
    """desec.readthedocs.io/en/latest/dyndns/update-api.html"""
    if {"username", "password"} & set(request.query):
        ledger.breaches.append("the token is in the URL, which deSEC logs")
    if request.headers.get("authorization") != f"Token {ledger.secret}":
        return Response("badauth", 401) if ledger.refuse("401") else Response("")
    name = request.query.get("hostname", "")
    if name not in ledger.names:
        ledger.refuse("404")
        return Response("nohost", 404)
    if ledger.updates and ledger.now() - ledger.updates[-1] < 60:
        ledger.be_left_alone(60)
        return Response("Request was throttled.", 429, headers={"Retry-After": "60"})
    # A family without a value is deleted, not kept.
    given: dict[str, str | None] = {
        "A": request.query.get("myipv4") or None,
        "AAAA": request.query.get("myipv6") or None,
    }
    ledger.set_addresses(name, given)
    return Response("good")


def desec_rest(request: Request, ledger: Ledger) -> Response:
    """desec.readthedocs.io: dns/domains, dns/rrsets"""
    if request.headers.get("authorization") != f"Token {ledger.secret}":
        ledger.refuse("401")
        return as_json({"detail": "Invalid token."}, 401)
    parts = request.path.removeprefix("/api/v1/domains/").strip("/").split("/")
    domain = _zone(ledger, request.query.get("owns_qname", parts[0]))
    if parts == [""]:
        found = [{"name": domain, "minimum_ttl": 60}] if domain else []
        return as_json(found)
    if not domain:
        return as_json({"detail": "Not found."}, 404)
    if request.method == "PUT":
        for one in json.loads(request.body):
            ttl_is_low = one["ttl"] < 60
            if ttl_is_low or not all(_is_quoted(one["type"], text) for text in one["records"]):
                return as_json([{"records": ["Invalid."]}], 400)
            name = f"{one['subname']}.{domain}" if one["subname"] else domain
            values = tuple(text.strip('"').rstrip(".") for text in one["records"])
            ledger.set_records(name, one["type"], values)
        return as_json([])
    sub, kind = parts[2], parts[3]
    entry = ledger.names.get(domain if sub == "@" else f"{sub}.{domain}")
    values = entry.records.get(kind, ()) if entry else ()
    if not values:
        return as_json({"detail": "Not found."}, 404)
    return as_json({"records": [f'"{value}"' for value in values]})


def _is_quoted(kind: str, text: str) -> bool:
    return kind != "TXT" or (text.startswith('"') and text.endswith('"'))


def desec(request: Request, ledger: Ledger) -> Response:
    handler = desec_rest if request.path.startswith("/api/v1/") else desec_update
    return handler(request, ledger)


def cloudflare(request: Request, ledger: Ledger) -> Response:
    """developers.cloudflare.com/api: zones, dns_records. One zone: the ledger's shortest name."""
    if request.headers.get("authorization") != f"Bearer {ledger.secret}":
        ledger.refuse("9109")
        errors = [{"code": 9109, "message": "Invalid access token"}]
        return as_json({"success": False, "errors": errors, "result": None}, 403)

    def done(result: Any) -> Response:
        return as_json({"success": True, "errors": [], "result": result})

    zone = min(ledger.names, key=len)
    if request.path == "/client/v4/zones":
        return done([{"id": "z1", "name": zone}] if request.query["name"] == zone else [])
    identifier = request.path.removeprefix("/client/v4/zones/z1/dns_records").strip("/")
    given = json.loads(request.body or b"{}")
    if request.method == "GET":
        kind, name = request.query["type"], request.query["name"]
        entry = ledger.names.get(name, Entry())
        values = entry.records.get(kind, ())
        quote = '"' if kind == "TXT" else ""
        return done([
            {"id": f"{name}~{kind}~{value}", "type": kind, "name": name,
             "content": f"{quote}{value}{quote}", "proxied": kind == "X"}
            for value in values
        ])  # fmt: skip
    if request.method == "POST":
        _cloudflare_set(ledger, given["name"], given["type"], given["content"].strip('"'), add=True)
        return done({"id": "new"})
    name, kind, value = identifier.split("~")
    if request.method == "DELETE":
        rest = tuple(one for one in ledger.names[name].records[kind] if one != value)
        ledger.set_records(name, kind, rest)
    else:
        _cloudflare_set(ledger, name, kind, given["content"], add=False)
    return done({"id": identifier})


def _cloudflare_set(ledger: Ledger, name: str, kind: str, value: str, *, add: bool) -> None:
    if kind in ("A", "AAAA"):
        ledger.names.setdefault(name, Entry())
        ledger.set_addresses(name, {kind: value})
    else:
        before = ledger.names.get(name, Entry()).records.get(kind, ()) if add else ()
        ledger.set_records(name, kind, (*before, value))


def dynv6(request: Request, ledger: Ledger) -> Response:
    """dynv6.com/docs/apis, dynv6.github.io/api-spec"""
    if request.path.startswith("/api/v2/"):
        return _dynv6_rest(request, ledger)
    query = request.query
    if query.get("token") != ledger.secret:
        ledger.refuse("401")
        return Response("invalid authentication token", 401)
    if query.get("zone") not in ledger.names:
        ledger.refuse("404")
        return Response("zone not found", 404)
    given: dict[str, str | None] = {}
    for parameter, kind in (("ipv4", "A"), ("ipv6", "AAAA")):
        if query.get(parameter):
            given[kind] = query[parameter]
    is_new = ledger.set_addresses(query["zone"], given)
    return Response("addresses updated" if is_new else "addresses unchanged")


def _dynv6_rest(request: Request, ledger: Ledger) -> Response:
    if request.headers.get("authorization") != f"Bearer {ledger.secret}":
        ledger.refuse("401")
        return Response("", 401)
    zone = min(ledger.names, key=len)
    if request.path.startswith("/api/v2/zones/by-name/"):
        found = request.path.rpartition("/")[2] == zone
        return as_json({"id": 7, "name": zone}) if found else as_json({}, 404)
    if request.method == "GET":
        records = [
            {"id": f"{name}~{kind}~{value}", "name": name.removesuffix(zone).rstrip("."),
             "type": kind, "data": value}
            for name, entry in ledger.names.items()
            for kind, values in entry.records.items()
            for value in values
        ]  # fmt: skip
        return as_json(records)
    if request.method == "POST":
        given = json.loads(request.body)
        name = f"{given['name']}.{zone}" if given["name"] else zone
        before = ledger.names.get(name, Entry()).records.get(given["type"], ())
        ledger.set_records(name, given["type"], (*before, given["data"]))
        return as_json({"id": 8})
    name, kind, value = request.path.rpartition("/")[2].split("~")
    rest = tuple(one for one in ledger.names[name].records[kind] if one != value)
    ledger.set_records(name, kind, rest)
    return Response("", 204)


def namecheap(request: Request, ledger: Ledger) -> Response:
    """namecheap.com/support, article 29; the header says UTF-16 and the bytes are not."""
    query = request.query
    host, domain = query.get("host", ""), query.get("domain", "")
    name = domain if host == "@" else f"{host}.{domain}"
    error = ""
    if not any(f".{known}".endswith(f".{domain}") for known in ledger.names):
        error = "Domain name not found"
    elif query.get("password") != ledger.secret:
        error = "Passwords do not match"
    elif name not in ledger.names:
        error = "No Records updated. A record not Found;"
    if error:
        ledger.refuse(error)
        body = f"<ErrCount>1</ErrCount><errors><Err1>{error}</Err1></errors>"
    else:
        ledger.set_addresses(name, {"A": query["ip"]})
        body = f"<IP>{query['ip']}</IP><ErrCount>0</ErrCount><errors />"
    head = '<?xml version="1.0" encoding="utf-16"?>'
    xml = f"{head}<interface-response><Command>SETDNSHOST</Command>{body}</interface-response>"
    return Response(xml, kind="text/xml")


def freedns(request: Request, ledger: Ledger) -> Response:
    """freedns.afraid.org/api, version 2"""
    key = hashlib.sha1(f"{ledger.user}|{ledger.secret}".encode()).hexdigest()
    if request.path == "/api/":
        if request.query.get("sha") != key:
            ledger.refuse("Could not authenticate")
            return Response("ERROR: Could not authenticate.")
        rows = []
        for name in ledger.names:
            address = "".join(ledger.addresses(name)) or "0.0.0.0"
            link = f"http://freedns.afraid.org/dynamic/update.php?{_freedns_key(name)}"
            rows.append(f"{name}|{address}|{link}")
        return Response("\n".join(rows))
    token = urlsplit(request.url).query.partition("&")[0]
    for name in ledger.names:
        if token == _freedns_key(name):
            address = request.query["address"]
            before = "".join(ledger.addresses(name)) or "0.0.0.0"
            if not ledger.set_addresses(name, {"A": address}):
                return Response(f"ERROR: Address {address} has not changed.")
            return Response(f"Updated {name} from {before} to {address}")
    ledger.refuse("Unable to locate this record")
    return Response("ERROR: Unable to locate this record")


def _freedns_key(name: str) -> str:
    return base64.b64encode(f"key of {name}".encode()).decode().rstrip("=")


def _zone(ledger: Ledger, name: str) -> str | None:
    """The shortest of the ledger's names is the domain that the account holds."""
    domain = min(ledger.names, key=len)
    return domain if name == domain or name.endswith(f".{domain}") else None


Handler = Callable[[Request, Ledger], Response]
HANDLERS: dict[str, Handler] = {
    "duckdns": duckdns, "desec": desec, "cloudflare": cloudflare, "dynv6": dynv6,
    "namecheap": namecheap, "freedns": freedns,
    "noip": dyndns2, "dynu": dyndns2, "ovh": dyndns2, "he": dyndns2, "dyn": dyndns2,
    "ipv64": dyndns2, "custom": dyndns2,
}  # fmt: skip
HOSTS = {
    "www.duckdns.org": "duckdns", "update.dedyn.io": "desec", "desec.io": "desec",
    "ddns.example.com": "custom",
    "api.cloudflare.com": "cloudflare", "dynv6.com": "dynv6",
    "dynamicdns.park-your-domain.com": "namecheap", "freedns.afraid.org": "freedns",
    "dynupdate.no-ip.com": "noip", "api.dynu.com": "dynu", "www.ovh.com": "ovh",
    "dyn.dns.he.net": "he", "members.dyndns.org": "dyn", "ipv64.net": "ipv64",
}  # fmt: skip
