"""What a daily look at a channel costs when there is nothing new."""

from __future__ import annotations

from pathlib import Path

from benchmarks.table import Row
from unit.services.channel_files import (
    NOW,
    Appliance,
    Publisher,
    a_release,
    an_index,
    make_appliance,
)
from unit.signing import usual_root
from unit.static_server import NETWORK_HEADERS, serving

MUST_KB = 2.0


def check_rows(place: Path) -> list[Row]:
    """Both conditional requests (revoked keys, index) with all headers, as they cross the wire.

    The server adds what a content delivery network adds; TLS is not in it.
    """
    keys = usual_root(place / "keys")
    publisher = Publisher(place / "site", keys.signer)
    publisher.directory.mkdir()
    publisher.publish_crl(keys.crl())
    publisher.publish(an_index(a_release("1.0")))
    with serving(publisher.directory) as server:
        server.headers = NETWORK_HEADERS
        appliance = Appliance(make_appliance(place / "appliance", keys), server.url)
        assert appliance.check().error == ""
        server.bytes_in = server.bytes_out = 0
        assert appliance.check(NOW + 3600).error == ""
        assert [status for _, status in server.requests[2:]] == [304, 304]
        figure = "update check with nothing new, both ways, without TLS"
        return [Row(figure=figure, value=server.bytes / 1000, unit="kB", must=MUST_KB)]
