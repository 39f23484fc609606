"""A check against a real server: what is believed, what is refused, what is remembered."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.channelindex import render_index
from appliance.release import Channel, Rollout
from services.results import load_result, save_result
from services.update.channel import RESULT, CheckResult, index_file
from services.update.choose import Gate
from services.update.keyring import effective_keyring, slot_keyring, stored_crl
from unit.services.channel_files import (
    DAY,
    NOW,
    Appliance,
    Publisher,
    a_release,
    an_index,
    make_appliance,
)
from unit.signing import Root, make_root, sign, usual_root
from unit.static_server import NETWORK_HEADERS, Served, serving


@pytest.fixture
def keys(tmp_path: Path) -> Root:
    return usual_root(tmp_path / "keys")


@pytest.fixture
def publisher(tmp_path: Path, keys: Root) -> Publisher:
    (tmp_path / "site").mkdir()
    publisher = Publisher(tmp_path / "site", keys.signer)
    publisher.publish_crl(keys.crl())
    publisher.publish(an_index(a_release("1.1")))
    return publisher


@pytest.fixture
def server(publisher: Publisher) -> Iterator[Served]:
    with serving(publisher.directory) as served:
        yield served


@pytest.fixture
def appliance(tmp_path: Path, keys: Root, server: Served) -> Appliance:
    return Appliance(make_appliance(tmp_path / "appliance", keys), server.url)


def test_a_release_is_found(appliance: Appliance, server: Served) -> None:
    found = appliance.check()
    assert found.error == ""
    assert found.checked_at == found.at == NOW
    assert found.offer is not None
    assert found.offer.bundle.url == f"{server.url}/releases/1.1/hearth.raucb"
    save_result(appliance.paths, RESULT, found)
    assert load_result(appliance.paths, RESULT, CheckResult) == found


def test_nothing_new_costs_two_short_answers(appliance: Appliance, server: Served) -> None:
    appliance.check()
    server.headers = NETWORK_HEADERS
    server.requests.clear()
    server.bytes_in = server.bytes_out = 0
    again = appliance.check(NOW + DAY)
    assert (again.error, appliance.offered, again.checked_at) == ("", "1.1", NOW + DAY)
    assert [status for _, status in server.requests] == [304, 304]
    assert server.bytes <= 2048


def test_an_older_index_is_refused_and_the_newer_one_counts_on(
    appliance: Appliance, publisher: Publisher
) -> None:
    old = publisher.publish(an_index(a_release("1.1"), sequence=4))
    appliance.check()
    publisher.publish(an_index(a_release("1.1"), a_release("1.2"), sequence=5))
    appliance.check()
    publisher.publish_bytes(old)
    found = appliance.check(NOW + DAY)
    assert "number 4, and number 5" in found.error
    assert (appliance.offered, found.sequence, found.checked_at) == ("1.2", 5, NOW)
    publisher.publish(an_index(a_release("1.1"), sequence=6))
    assert appliance.check(NOW + 2 * DAY).error == ""
    assert appliance.offered == "1.1"


def test_one_number_has_one_content(appliance: Appliance, publisher: Publisher) -> None:
    appliance.check()
    publisher.publish(an_index(a_release("1.3")))
    assert "number 1, and number 1" in appliance.check().error
    # Signed anew, but the same: another server of the same publisher.
    publisher.publish(an_index(a_release("1.1")))
    assert appliance.check().error == ""


def test_an_index_that_has_ended_offers_nothing(appliance: Appliance, publisher: Publisher) -> None:
    publisher.publish(an_index(a_release("1.1"), days=10))
    assert appliance.check().error == ""
    # The server says that nothing has changed, for ever.
    found = appliance.check(NOW + 9 * DAY)
    assert "ended" in found.error
    assert (appliance.offered, found.checked_at) == ("", NOW)


def test_the_time_in_1970_is_not_believed(
    appliance: Appliance, publisher: Publisher, keys: Root
) -> None:
    publisher.signer = keys.release("long", begins=-200 * DAY)
    publisher.publish(an_index(a_release("1.1"), issued=NOW - 100 * DAY, days=60))
    assert "ended" in appliance.check(0.0).error  # before the image was made
    publisher.publish(an_index(a_release("1.1"), sequence=2, issued=NOW - 31 * DAY, days=20))
    assert appliance.check(0.0).error == ""
    clock = appliance.paths.last_time
    clock.parent.mkdir(parents=True)
    clock.touch()
    os.utime(clock, (NOW, NOW))
    assert "ended" in appliance.check(0.0).error


def test_a_good_index_is_taken_while_the_clock_is_behind(
    appliance: Appliance, publisher: Publisher, keys: Root
) -> None:
    # The signer's certificate begins today, which is to come by this clock.
    publisher.signer = keys.release("new", begins=0)
    publisher.publish(an_index(a_release("1.1"), sequence=2, issued=NOW + DAY))
    assert appliance.check(0.0).error == ""
    assert appliance.offered == "1.1"


def test_a_signer_whose_time_is_over_is_refused(
    appliance: Appliance, publisher: Publisher, keys: Root
) -> None:
    publisher.signer = keys.release("over", days=1)
    publisher.publish(an_index(a_release("1.2"), sequence=2))
    assert appliance.check().error == ""
    publisher.publish(an_index(a_release("1.3"), sequence=3))
    assert "was valid until" in appliance.check(NOW + 3 * DAY).error
    assert appliance.offered == "1.2"


def test_a_stolen_key_takes_its_number_with_it(
    appliance: Appliance, publisher: Publisher, keys: Root
) -> None:
    stolen, publisher.signer = publisher.signer, keys.release("next")
    publisher.publish_bytes(
        sign(render_index(an_index(a_release("9.9"), sequence=2**60, days=9000)), stolen)
    )
    assert appliance.check().error == ""
    assert appliance.offered == "9.9"
    publisher.publish_crl(keys.revoke(stolen))
    found = appliance.check()
    assert "revoked" in found.error
    assert appliance.offered == ""
    publisher.publish(an_index(a_release("1.2"), sequence=3))
    assert appliance.check().error == ""
    assert appliance.offered == "1.2"


def test_news_about_keys_outlive_the_server_but_not_a_newer_slot(
    appliance: Appliance, publisher: Publisher, keys: Root, server: Served
) -> None:
    old = keys.crl()
    stolen = publisher.signer
    publisher.publish_crl(keys.revoke(stolen))
    assert "revoked" in appliance.check().error
    publisher.publish_crl(old)
    assert "revoked" in appliance.check().error
    (publisher.directory / "revoked.crl").unlink()
    assert "revoked" in appliance.check().error
    newest = keys.revoke(keys.release("another"))
    slot_keyring(appliance.paths).write_bytes(keys.certificate.read_bytes() + newest)
    appliance.check()
    assert newest.decode() in effective_keyring(appliance.paths).read_text()


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"-----BEGIN X509 CRL-----\nAA\n"])
def test_a_damaged_list_is_fetched_again(
    appliance: Appliance, publisher: Publisher, keys: Root, content: bytes
) -> None:
    publisher.publish_crl(keys.revoke(keys.release("another")))
    appliance.check()
    good = stored_crl(appliance.paths).read_bytes()
    stored_crl(appliance.paths).write_bytes(content)
    assert appliance.check().error == ""
    assert stored_crl(appliance.paths).read_bytes() == good


@pytest.mark.parametrize("content", [b"", b"<html>sign in</html>", b"\x30\x80\x00\x00"])
def test_a_damaged_memory_is_fetched_again(appliance: Appliance, content: bytes) -> None:
    appliance.check()
    file = index_file(appliance.paths, Channel.STABLE)
    good = file.read_bytes()
    file.write_bytes(content)
    assert appliance.check().error == ""
    assert file.read_bytes() == good


def test_a_stranger_says_nothing_that_counts(
    appliance: Appliance, publisher: Publisher, tmp_path: Path
) -> None:
    stranger = make_root(tmp_path / "stranger", "Test root")
    index = an_index(a_release("6.6"), sequence=7)
    publisher.publish_bytes(sign(render_index(index), stranger.release("release")))
    publisher.publish_crl(stranger.crl())
    assert appliance.check().error != ""
    assert appliance.offered == ""
    assert not index_file(appliance.paths, Channel.STABLE).exists()
    assert not stored_crl(appliance.paths).exists()


def test_the_index_of_another_channel_is_refused(
    appliance: Appliance, publisher: Publisher
) -> None:
    message = publisher.publish(an_index(a_release("2.0"), channel=Channel.BETA, sequence=9))
    publisher.publish_bytes(message)
    assert "another channel: beta" in appliance.check().error
    appliance.channel = Channel.BETA
    assert appliance.check().error == ""
    assert appliance.offered == "2.0"


def test_what_a_newer_builder_writes_is_passed_over(
    appliance: Appliance, publisher: Publisher
) -> None:
    content = render_index(an_index(a_release("1.1"), sequence=2))
    newer = content.replace(b'"sequence": 2', b'"sequence": 2, "mood": {"good": true}')
    newer = newer.replace(b'"minimum": "0"', b'"minimum": "0", "colour": "red"')
    publisher.publish_bytes(sign(newer, publisher.signer))
    assert appliance.check().error == ""
    assert appliance.offered == "1.1"
    other = content.replace(b'"format": 1', b'"format": 2').replace(
        b'"sequence": 2', b'"sequence": 3'
    )
    publisher.publish_bytes(sign(other, publisher.signer))
    assert "format 2" in appliance.check().error
    assert appliance.offered == "1.1"


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"[" * 100_000, b'{"format": 1}', b'{"format": 1, "releases": 3}',
     b'{"format": 1, "channel": "stable", "sequence": "1", "issued": "x", "expires": "x"}',
     b'{"format": 1, "channel": "stable", "sequence": 1, "issued": "x", "expires": "x"}',
     b'{"format": 1, "channel": "stable", "sequence": 1, "issued": "2026-11-01",'
     b' "expires": "2027-01-01"}'],
)  # fmt: skip
def test_what_is_signed_but_no_index_is_refused(
    appliance: Appliance, publisher: Publisher, content: bytes
) -> None:
    publisher.publish_bytes(sign(content, publisher.signer))
    assert appliance.check().error != ""
    assert appliance.offered == ""


def test_no_bundle_is_fetched_from_a_worse_place(
    appliance: Appliance, publisher: Publisher
) -> None:
    for at, url in enumerate(
        ("http://192.168.1.1/setup", "ftp://127.0.0.1/x", "file:///etc/shadow"), 2
    ):
        release = a_release("1.1")
        release = replace(release, bundle=replace(release.bundle, url=url))
        publisher.publish(an_index(release, sequence=at))
        assert "sends us" in appliance.check().error
        assert appliance.offered == ""


def test_a_full_disk_keeps_no_update_back(appliance: Appliance, publisher: Publisher) -> None:
    appliance.check()
    publisher.publish(an_index(a_release("1.2"), sequence=2))
    # As full as it gets for root: nothing can be made here any more.
    shutil.rmtree(appliance.paths.update)
    appliance.paths.update.write_text("")
    found = appliance.check()
    # The list of revoked keys could not be kept, and without it nothing is believed.
    assert "cannot be kept" in found.error
    assert found.hint
    assert appliance.offered == ""


def test_no_room_for_anything_is_told(appliance: Appliance) -> None:
    appliance.check()
    effective_keyring(appliance.paths).unlink()
    effective_keyring(appliance.paths).mkdir()
    found = appliance.check()
    assert "keyring.pem" in found.error
    assert appliance.offered == ""


def test_an_index_that_cannot_be_kept_counts_and_is_asked_for_again(
    appliance: Appliance, publisher: Publisher, server: Served
) -> None:
    appliance.check()
    publisher.publish(an_index(a_release("1.2"), sequence=2))
    file = index_file(appliance.paths, Channel.STABLE)
    file.unlink()
    file.mkdir()
    (file / "in the way").touch()
    assert appliance.check().error == ""
    assert appliance.offered == "1.2"
    server.requests.clear()
    assert appliance.check().error == ""
    assert ("/stable/index.cms", 200) in server.requests


def test_another_server_starts_anew(
    appliance: Appliance, publisher: Publisher, server: Served
) -> None:
    first = appliance.check()
    assert first.index_validators.etag
    appliance.url = server.url.replace("127.0.0.1", "localhost")
    server.requests.clear()
    found = appliance.check()
    assert found.source.startswith("http://localhost")
    assert ("/stable/index.cms", 304) not in server.requests


def test_what_is_held_back_is_told_with_its_reason(
    appliance: Appliance, publisher: Publisher
) -> None:
    publisher.publish(
        an_index(
            a_release("2.0", postgresql=18),
            a_release("1.3", rollout=Rollout(paused=True)),
            a_release("1.2", rollout=Rollout(percent=0)),
            a_release("1.1"),
            sequence=2,
        )
    )
    appliance.avoid = {"1.1": "1.1 did not start here on Monday"}
    found = appliance.check()
    assert [one.gate for one in found.passed_over] == [
        Gate.POSTGRESQL, Gate.PAUSED, Gate.ROLLOUT, Gate.AVOIDED,
    ]  # fmt: skip
    assert appliance.offered == ""
    appliance.wants_it_now = True
    appliance.check()
    assert appliance.offered == "1.2"
