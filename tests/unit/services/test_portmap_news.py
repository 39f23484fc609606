"""What routers announce, as real ones send it."""

from __future__ import annotations

import socket
import struct

from services.portmap.news import Life, parse_alive, parse_announcement

# miniupnpd 2.3.9 of Debian 13, shortened to what is looked at.
ALIVE = (
    b"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=1800\r\n"
    b"LOCATION: http://192.0.2.1:5000/rootDesc.xml\r\nSERVER: Debian UPnP/1.1 MiniUPnPd/2.3.9\r\n"
    b"NT: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nNTS: ssdp:alive\r\n"
    b'OPT: "http://schemas.upnp.org/upnp/1/0/"; ns=01\r\nBOOTID.UPNP.ORG: 1795396271\r\n\r\n'
)


def test_a_gateway_that_has_started() -> None:
    assert parse_alive(ALIVE) == ("http://192.0.2.1:5000/rootDesc.xml", "1795396271")


def test_what_is_no_gateways_start() -> None:
    assert parse_alive(ALIVE.replace(b"ssdp:alive", b"ssdp:byebye")) is None
    assert parse_alive(ALIVE.replace(b"InternetGatewayDevice", b"MediaRenderer")) is None
    assert parse_alive(b"M-SEARCH * HTTP/1.1\r\n\r\n") is None
    assert parse_alive(b"\xff\x00") is None
    assert parse_alive(b"") is None


def test_announcements() -> None:
    natpmp = struct.pack("!BBHI4s", 0, 128, 0, 7, socket.inet_aton("203.0.113.10"))
    assert parse_announcement(natpmp, 50.0) == Life(address="203.0.113.10", epoch=7, heard=50.0)
    pcp = struct.pack("!BBxBII12x", 2, 128, 0, 0, 3)
    assert parse_announcement(pcp, 50.0) == Life(epoch=3, heard=50.0)
    for other in (b"", natpmp[:11], pcp[:23], b"\x00\x00", b"\x02\x81" + bytes(22)):
        assert parse_announcement(other, 50.0) is None


def test_a_life_goes_on() -> None:
    life = Life(address="203.0.113.10", epoch=100, heard=1000.0)
    assert life.goes_on_in(Life(address="203.0.113.10", epoch=130, heard=1030.0))
    assert life.goes_on_in(Life(epoch=131, heard=1030.0))
    assert not life.goes_on_in(Life(address="203.0.113.77", epoch=130, heard=1030.0))
    assert not life.goes_on_in(Life(address="203.0.113.10", epoch=4, heard=1030.0))
