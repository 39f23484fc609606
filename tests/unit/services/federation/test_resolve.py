"""Every step of "Resolving server names" against servers on the loopback, and what can go wrong."""

from __future__ import annotations

import time

import pytest

from appliance.errors import ConfigError, NetworkError
from services.federation.fetch import Fault, FetchError, Place, Web
from services.federation.resolve import Route, Step, resolve
from services.federation.servername import parse_server_name
from services.federation.wellknown import PATH, WellKnown, fetch_well_known
from unit.services.federation.bench import Bench, Page, Site, page
from world.internet.trust import Authority

NAME = "example.org"
HERE, THERE, THIRD = "203.0.113.1", "203.0.113.2", "203.0.113.3"
HERE6 = "2001:db8::1"


def well_known(bench: Bench, server: object) -> Site:
    bench.name(NAME, HERE)
    site = bench.serve((HERE, 443), names=[NAME])
    site.pages[PATH] = page({"m.server": server})
    return site


def route(bench: Bench, name: str = NAME) -> Route:
    return resolve(bench.web, bench.lookup, name)


def places(found: Route) -> list[tuple[str, int, str, str]]:
    return [(one.address, one.port, one.name, one.host) for one in found.places]


# ---- server names


@pytest.mark.parametrize(
    ("text", "host", "port", "is_literal"),
    [
        ("matrix.org", "matrix.org", None, False),
        ("matrix.org:8888", "matrix.org", 8888, False),
        ("1.2.3.4", "1.2.3.4", None, True),
        ("1.2.3.4:1234", "1.2.3.4", 1234, True),
        ("[1234:5678::abcd]", "1234:5678::abcd", None, True),
        ("[1234:5678::abcd]:5678", "1234:5678::abcd", 5678, True),
    ],
)
def test_the_appendices_examples(text: str, host: str, port: int | None, is_literal: bool) -> None:
    found = parse_server_name(text)
    assert (found.host, found.port, found.is_literal) == (host, port, is_literal)
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    ["", ":80", "a:", "a:b", "a:0", "a:65536", "a:123456", "a b", "a/b", "a@b", "::1", "[::1",
     "[1.2.3.4]", "[zz::1]", "a:1:2", "é.org", "x" * 256, "a\n", "https://a"],
)  # fmt: skip
def test_what_is_no_server_name(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_server_name(text)


# ---- steps 1 and 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (HERE, (HERE, 8448, HERE, HERE)),
        (f"{HERE}:99", (HERE, 99, HERE, f"{HERE}:99")),
        (f"[{HERE6}]", (HERE6, 8448, HERE6, f"[{HERE6}]")),
        (f"[{HERE6}]:99", (HERE6, 99, HERE6, f"[{HERE6}]:99")),
    ],
)
def test_step_1_an_address_is_itself(
    bench: Bench, name: str, expected: tuple[str, int, str, str]
) -> None:
    found = route(bench, name)
    assert (found.step, places(found)) == (Step.LITERAL, [expected])
    assert not bench.dialled, "nobody is asked about an address"


def test_step_2_a_port_needs_no_well_known(bench: Bench) -> None:
    bench.name(NAME, HERE)
    bench.name(NAME, HERE6, kind="AAAA")
    bench.name(f"_matrix-fed._tcp.{NAME}", f"0 0 1 {NAME}.", kind="SRV")
    found = route(bench, f"{NAME}:99")
    assert found.step is Step.PORT
    assert places(found) == [(one, 99, NAME, f"{NAME}:99") for one in (HERE, HERE6)]
    assert not bench.dialled


# ---- step 3


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (THERE, (THERE, 8448, THERE, THERE)),
        (f"{THERE}:99", (THERE, 99, THERE, f"{THERE}:99")),
        (f"[{HERE6}]:99", (HERE6, 99, HERE6, f"[{HERE6}]:99")),
    ],
)
def test_step_3_1_delegated_to_an_address(
    bench: Bench, server: str, expected: tuple[str, int, str, str]
) -> None:
    well_known(bench, server)
    found = route(bench)
    assert (found.step, places(found)) == (Step.DELEGATED_LITERAL, [expected])


def test_step_3_2_delegated_with_a_port(bench: Bench) -> None:
    site = well_known(bench, f"matrix.{NAME}:443")
    bench.name(f"matrix.{NAME}", THERE)
    found = route(bench)
    assert found.step is Step.DELEGATED_PORT
    assert places(found) == [(THERE, 443, f"matrix.{NAME}", f"matrix.{NAME}:443")]
    assert [seen[:2] for seen in site.seen] == [(NAME, PATH)]
    assert found.delegate == f"matrix.{NAME}:443"


@pytest.mark.parametrize(
    ("kind", "delegated", "step"),
    [
        ("_matrix-fed", True, Step.DELEGATED_SRV),
        ("_matrix", True, Step.DELEGATED_OLD_SRV),
        ("_matrix-fed", False, Step.SRV),
        ("_matrix", False, Step.OLD_SRV),
    ],
)
def test_steps_3_3_3_4_4_5_srv_records(
    bench: Bench, kind: str, delegated: bool, step: Step
) -> None:
    """The certificate and the Host header stay those of the name with the record."""
    owner = f"matrix.{NAME}" if delegated else NAME
    if delegated:
        well_known(bench, owner)
    bench.name(f"host.{NAME}", THERE)
    bench.name(f"spare.{NAME}", THIRD)
    records = (f"20 0 99 spare.{NAME}.", f"10 0 88 host.{NAME}.")
    bench.name(f"{kind}._tcp.{owner}", *records, kind="SRV")
    if kind == "_matrix-fed":  # the deprecated one does not count beside it
        bench.name(f"_matrix._tcp.{owner}", f"0 0 1 spare.{NAME}.", kind="SRV")
    found = route(bench)
    assert found.step is step
    assert places(found) == [(THERE, 88, owner, owner), (THIRD, 99, owner, owner)]


def test_an_srv_record_may_not_lead_to_an_alias(bench: Bench) -> None:
    bench.name(f"alias.{NAME}", f"host.{NAME}.", kind="CNAME")
    bench.name(f"alias.{NAME}", THERE)
    bench.name(f"_matrix-fed._tcp.{NAME}", f"10 0 88 alias.{NAME}.", kind="SRV")
    found = route(bench)
    assert (found.step, found.places) == (Step.SRV, ())
    assert "alias" in found.services[0].problem


def test_an_srv_record_that_says_no(bench: Bench) -> None:
    """RFC 2782: a target of "." means that the service is decidedly not available."""
    bench.name(NAME, HERE)
    bench.name(f"_matrix-fed._tcp.{NAME}", "0 0 0 .", kind="SRV")
    assert route(bench).step is Step.NAME


def test_step_3_5_delegated_without_port_or_srv(bench: Bench) -> None:
    well_known(bench, f"matrix.{NAME}")
    bench.name(f"matrix.{NAME}", THERE)
    found = route(bench)
    assert found.step is Step.DELEGATED
    assert places(found) == [(THERE, 8448, f"matrix.{NAME}", f"matrix.{NAME}")]


# ---- step 6, and all that is no valid well-known


def test_step_6_nothing_but_the_name(bench: Bench) -> None:
    bench.name(NAME, HERE)
    found = route(bench)
    assert (found.step, places(found)) == (Step.NAME, [(HERE, 8448, NAME, NAME)])
    assert found.well_known is not None
    assert found.well_known.fault is Fault.REFUSED


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Page(status=404), "404"),
        (page({"m.server": f"matrix.{NAME}:443"}, status=500), "500"),
        (Page(body=b"<!doctype html><title>It works!</title>"), "It works!"),
        (page({}), "m.server"),
        (page([f"matrix.{NAME}"]), "m.server"),
        (page({"m.server": 8448}), "m.server"),
        (page({"m.server": "https://matrix.org"}), "not a Matrix server name"),
        (page({"m.server": ""}), "not a Matrix server name"),
        (Page(body=b'{"m.server": NaN}'), "not JSON"),
        (Page(body=b"[" * 200_000), "KiB"),
        (Page(body=b"[" * 40_000), "not JSON"),
        (page({"m.server": "a.org", "x": "y" * 60_000}), "more than 50 KiB"),
        (page({"m.server": "a.org"}, drip=True), "no answer in time"),
    ],
    ids=["404", "500", "html", "empty", "list", "number", "url", "empty name", "nan", "huge",
         "nested", "large", "drip"],
)  # fmt: skip
def test_an_invalid_answer_is_none(bench: Bench, answer: Page, said: str) -> None:
    site = well_known(bench, "")
    site.pages[PATH] = answer
    begin = time.monotonic()
    found = fetch_well_known(bench.web, bench.lookup, NAME)
    assert time.monotonic() - begin < 10
    assert found.server is None
    assert said in found.error
    assert resolve(bench.web, bench.lookup, NAME, known=found).step is Step.NAME


def test_redirects_are_followed(bench: Bench) -> None:
    site = well_known(bench, "")
    bench.name(f"www.{NAME}", THERE)
    other = bench.serve((THERE, 8000), names=[f"www.{NAME}"])
    site.pages[PATH] = Page(status=302, headers={"Location": "/there"})
    url = f"https://www.{NAME}:8000/x?y=z"
    site.pages["/there"] = Page(status=301, headers={"Location": url})
    other.pages["/x"] = page({"m.server": f"matrix.{NAME}:443"})
    found = fetch_well_known(bench.web, bench.lookup, NAME)
    assert str(found.server) == f"matrix.{NAME}:443"
    assert found.url == url
    assert other.seen[0][:2] == (f"www.{NAME}:8000", "/x?y=z")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (PATH, "circle"),
        (f"http://{NAME}{PATH}", "without encryption"),
        ("https://[::1", "no URL"),
        ("https://192.168.1.1/router", "no public address"),
        ("https://[fe80::1]/router", "no public address"),
        ("https://127.0.0.1/", "no public address"),
        (f"https://nowhere.{NAME}/", "has no address"),
        ("", "circle"),
        ("ftp://example.org/", "without encryption"),
        ("/a b", "no HTTP answer"),
    ],
)
def test_redirects_that_lead_nowhere(bench: Bench, target: str, said: str) -> None:
    site = well_known(bench, "")
    site.pages[PATH] = Page(status=307, headers={"Location": target})
    found = fetch_well_known(bench.web, bench.lookup, NAME)
    assert found.server is None
    assert said in found.error


def test_a_long_walk_ends(bench: Bench) -> None:
    site = well_known(bench, "")
    site.pages[PATH] = Page(status=302, headers={"Location": "/0"})
    for number in range(50):
        site.pages[f"/{number}"] = Page(status=302, headers={"Location": f"/{number + 1}"})
    found = fetch_well_known(bench.web, bench.lookup, NAME)
    assert "circle" in found.error
    assert len(site.seen) < 13


def test_a_certificate_for_another_name_is_none(bench: Bench) -> None:
    bench.name(NAME, HERE)
    site = bench.serve((HERE, 443), names=["router.lan"])
    site.pages[PATH] = page({"m.server": "evil.example.org"})
    found = fetch_well_known(bench.web, bench.lookup, NAME)
    assert (found.server, found.fault) == (None, Fault.WRONG_NAME)
    assert not site.seen, "nothing is said to who is not trusted"


def test_an_authority_that_nobody_knows_is_none(bench: Bench) -> None:
    bench.name(NAME, HERE)
    bench.serve((HERE, 443), names=[NAME], authority=Authority())
    assert fetch_well_known(bench.web, bench.lookup, NAME).fault is Fault.UNTRUSTED


# ---- addresses


def test_a_private_address_is_never_connected_to(bench: Bench) -> None:
    """Whoever names a server can name one in our home."""
    for address in ("192.168.1.1", "10.0.0.1", "127.0.0.1", "100.64.0.1", "169.254.1.1", "fd00::1",
                    "::1", "::ffff:192.168.1.1"):  # fmt: skip
        place = Place(address=address, port=443, name=NAME, host=NAME)
        with pytest.raises(FetchError) as caught:
            bench.web.get(place, "/")
        assert caught.value.fault is Fault.PRIVATE
    assert not bench.dialled


def test_the_next_address_is_tried(bench: Bench) -> None:
    site = well_known(bench, f"matrix.{NAME}:443")
    bench.name(NAME, THERE, HERE)
    bench.silent.add(THERE)
    assert str(fetch_well_known(bench.web, bench.lookup, NAME).server) == f"matrix.{NAME}:443"
    assert len(site.seen) == 1


def test_dns_that_does_not_answer_is_an_error_and_not_an_empty_answer(bench: Bench) -> None:
    with pytest.raises(NetworkError, match="DNS gives no answer"):
        resolve(bench.web, bench.lookup, "elsewhere.net", known=WellKnown(error="none"))


def test_a_name_that_dns_cannot_hold_has_no_address(bench: Bench) -> None:
    found = resolve(bench.web, bench.lookup, f"{'x' * 64}.org", known=WellKnown(error="none"))
    assert not found.places
    assert not resolve(bench.web, bench.lookup, "a..b", known=WellKnown(error="none")).places


def test_faults_are_told_apart(bench: Bench) -> None:
    web = Web(dial=bench.dial, context=bench.trust, seconds=2.0)
    bench.silent.add(THIRD)
    faults = []
    for address in (THERE, THIRD):
        with pytest.raises(FetchError) as caught:
            web.get(Place(address=address, port=443, name=NAME, host=NAME), "/")
        faults.append(caught.value.fault)
    assert faults == [Fault.REFUSED, Fault.SILENT]
