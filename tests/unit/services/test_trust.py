"""Whose word counts for the certificate under the server name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.paths import Paths
from appliance.settings import Public, Reach, Settings, load_settings
from services import proxy
from services.authority import authority_certificate
from services.trust import is_certified, trusted_authorities
from unit.services.appliance_files import make_appliance


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return make_appliance(tmp_path, reach=Reach.PUBLIC)


@pytest.fixture
def settings(paths: Paths) -> Settings:
    found = load_settings(paths.settings)
    assert found is not None
    return replace(found, public=Public())


def test_our_own_word_until_the_world_has_given_its(paths: Paths, settings: Settings) -> None:
    assert trusted_authorities(paths, settings) == authority_certificate(paths)
    proxy.public_file(paths).write_text("a certificate")
    assert is_certified(paths, settings)
    assert trusted_authorities(paths, settings) == (
        paths.root / "etc/ssl/certs/ca-certificates.crt"
    )


def test_a_server_of_the_home_network_has_no_use_for_an_old_one(
    paths: Paths, settings: Settings
) -> None:
    proxy.public_file(paths).write_text("a certificate of an earlier choice")
    at_home = replace(settings, server=replace(settings.server, reach=Reach.LAN), public=None)
    assert not is_certified(paths, at_home)
    assert trusted_authorities(paths, at_home) == authority_certificate(paths)
