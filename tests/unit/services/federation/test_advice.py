"""Who has no port of a router is not sent to the router, and who has one is told the right one."""

from __future__ import annotations

import pytest

from appliance.settings import Public, Tunnel, Way
from services.federation.advice import IPV6, TUNNEL, explain
from services.federation.judge import EXPLANATIONS
from services.federation.result import Cause

THROUGH_VPS = Public(way=Way.TUNNEL, tunnel=Tunnel(server="198.18.0.7"))
# Only a router promises to pass things on; a tunnel has none to promise it (find_facts).
TUNNEL_CAUSES = [cause for cause in Cause if cause is not Cause.NOTHING_ARRIVES]


def text(cause: Cause, public: Public) -> str:
    found = explain(cause, public)
    assert found.judgement is EXPLANATIONS[cause].judgement
    assert found.sentence.endswith(".")
    assert not found.next_step.endswith(".")
    return f"{found.sentence} {found.next_step}"


@pytest.mark.parametrize("cause", Cause)
def test_through_a_router_it_is_the_usual(cause: Cause) -> None:
    assert explain(cause, Public()) == EXPLANATIONS[cause]


@pytest.mark.parametrize("cause", TUNNEL_CAUSES)
def test_behind_a_tunnel_no_router_is_to_blame(cause: Cause) -> None:
    said = text(cause, THROUGH_VPS)
    for word in ("router", "UPnP", "this connection", "your connection", "8080"):
        assert word not in said, said


@pytest.mark.parametrize("cause", TUNNEL)
def test_behind_a_tunnel_the_rented_server_is(cause: Cause) -> None:
    assert "rented server" in text(cause, THROUGH_VPS)


@pytest.mark.parametrize("cause", Cause)
def test_by_ipv6_nothing_is_forwarded(cause: Cause) -> None:
    said = text(cause, Public(way=Way.IPV6))
    assert "forward" not in said, said
    assert ("8080" in said) is False
    if cause in (Cause.CLOSED, Cause.REFUSED, Cause.NOTHING_ARRIVES):
        assert "IPv6 firewall" in said
    assert (said != text(cause, Public())) is (cause in IPV6)


@pytest.mark.parametrize(("port", "internal"), [(4443, 8443), (8448, 8448)])
@pytest.mark.parametrize("cause", Cause)
def test_another_port_is_the_only_one(cause: Cause, port: int, internal: int) -> None:
    said = text(cause, Public(way=Way.PORT, port=port))
    assert "80 to 8080" not in said
    assert "443 leads" not in said or "4443 leads" in said
    if cause in (Cause.CLOSED, Cause.REFUSED, Cause.NOTHING_ARRIVES):
        assert f"{port} to {internal} of this device" in said
