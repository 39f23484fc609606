"""What a release says of itself, in the three places that it says it."""

from __future__ import annotations

import pytest

from appliance.errors import ConfigError
from appliance.release import (
    BUCKETS,
    ReleaseFacts,
    Rollout,
    bucket,
    from_meta,
    is_in_rollout,
    to_meta,
)

FACTS = ReleaseFacts(
    version="1.2.3",
    boards=("rpi4", "rpi5"),
    minimum="1.0",
    boot_interface=2,
    postgresql=18,
    synapse="1.163.0",
    synapse_schema=94,
    synapse_compatible=84,
    dendrite="0.15.2",
)


@pytest.mark.parametrize("facts", [FACTS, ReleaseFacts(version="0.1.0-dev")])
def test_facts_come_back_from_a_manifest(facts: ReleaseFacts) -> None:
    meta = to_meta(facts)
    assert from_meta(meta) == facts
    assert all(isinstance(text, str) and text for text in meta.values())
    assert not [name for name in meta if "_" in name]


def test_facts_of_a_later_version_are_passed_over() -> None:
    assert from_meta({**to_meta(FACTS), "moon-phase": "full"}) == FACTS


@pytest.mark.parametrize("meta", [{}, {"boards": "rpi4"}, {**to_meta(FACTS), "postgresql": "new"}])
def test_other_manifests_are_refused(meta: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="does not say") as caught:
        from_meta(meta)
    assert caught.value.hint


def test_a_rollout_reaches_its_share_and_others_each_time() -> None:
    machines = [f"{number:032x}" for number in range(20_000)]
    first = {name for name in machines if is_in_rollout(Rollout(percent=5), name, "1.0")}
    second = {name for name in machines if is_in_rollout(Rollout(percent=5), name, "1.1")}
    assert 0.04 < len(first) / len(machines) < 0.06
    assert len(first & second) < len(first) / 2
    assert first <= {name for name in machines if is_in_rollout(Rollout(percent=25), name, "1.0")}
    assert all(is_in_rollout(Rollout(), name, "1.0") for name in machines[:100])
    assert not any(is_in_rollout(Rollout(paused=True), name, "1.0") for name in machines[:100])
    assert all(0 <= bucket(name, "1.0") < BUCKETS for name in machines[:100])
