"""Page "tunnel" of the wizard: the rented server's script, and whether that server answers.

Run by hearth-tunnel-check.service, which the agent starts. Our half comes up for some seconds, with
its guard, and goes down again; nothing is listening yet that it could lead to.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from appliance.answers import Judgement
from appliance.atomic import write_atomic
from appliance.deadline import Clock, wait_until
from appliance.errors import DeadlineError, HearthError, StateError
from appliance.log import logger
from appliance.paths import Paths
from appliance.settings import Tunnel
from firstboot.address_check import AddressCheck
from firstboot.draft import DraftBook
from firstboot.stored import StoredDraft
from services.render import render_templates
from services.results import save_result
from services.tunnel import device
from services.tunnel.device import Look
from services.tunnel.diagnose import EXPLANATIONS, Diagnosis, diagnose
from services.tunnel.keys import ensure_keys
from services.tunnel.layout import TEMPLATES, render_script, values_of
from services.tunnel.place import CONFIG

RESULT = "tunnel-check"
# WireGuard tries every five seconds: twice, in case a packet is lost.
SHAKE_SECONDS = 7.0
CONFIG_MODE = 0o600


def draft_script(paths: Paths) -> str:
    """What is to be pasted on the rented server. Raises StateError without an answer about it."""
    return render_script(paths, _tunnel(DraftBook(paths).load()), ensure_keys(paths))


def check_tunnel(paths: Paths) -> AddressCheck:
    """Try the draft's answers and leave the result."""
    draft = DraftBook(paths).load()
    tunnel = _tunnel(draft)
    config = _write_config(paths, tunnel)
    begin = time.monotonic()
    try:
        device.up(config)
        try:
            look = wait_for_handshake()
        finally:
            device.down(config)
        found = judge(draft, look, time.monotonic() - begin)
    except HearthError as error:
        logger.warning("%s", error.message)
        found = explain(draft, tunnel, error)
    logger.info("%s: %s", tunnel.server, found.kind)
    save_result(paths, RESULT, found)
    return found


def wait_for_handshake(*, clock: Clock = time) -> Look:
    """Raises DeadlineError when nobody answers."""

    def shaken() -> Look | None:
        look = device.look()
        return look if look and look.handshake else None

    return wait_until(
        shaken, seconds=SHAKE_SECONDS, every=0.25, what="an answer of the rented server",
        clock=clock,
    )  # fmt: skip


def judge(draft: StoredDraft, look: Look, seconds: float) -> AddressCheck:
    return AddressCheck(
        answers=draft.tunnel_number,
        judgement=Judgement.GOOD,
        kind="good",
        headline="The tunnel works: your rented server answers.",
        evidence=(f"{look.endpoint} answered within {seconds:.1f} s, with the right keys",),
    )


def explain(draft: StoredDraft, tunnel: Tunnel, error: HearthError) -> AddressCheck:
    """What keeps the server from answering, found out by other means."""
    diagnosis = diagnose(tunnel.server, tunnel.port)
    if not isinstance(error, DeadlineError):
        diagnosis = replace(diagnosis, evidence=(*diagnosis.evidence, error.message))
    return judge_silence(draft, diagnosis)


def judge_silence(draft: StoredDraft, diagnosis: Diagnosis) -> AddressCheck:
    explanation = EXPLANATIONS[diagnosis.cause]
    return AddressCheck(
        answers=draft.tunnel_number,
        judgement=Judgement.BAD,
        kind=diagnosis.cause.value,
        headline=explanation.sentence,
        evidence=diagnosis.evidence,
        next_step=explanation.next_step,
    )


def _write_config(paths: Paths, tunnel: Tunnel) -> Path:
    """Our half, in the unit's own directory in memory, which goes away with it."""
    place = paths.root / "run" / "hearth-tunnel-check"
    values = {**values_of(tunnel, ensure_keys(paths)), "config": place}
    for item in render_templates(paths, TEMPLATES, values):
        file = place / item.target
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(file, item.text, mode=CONFIG_MODE)
    return place / CONFIG


def _tunnel(draft: StoredDraft) -> Tunnel:
    if draft.tunnel is None:
        message = "There is no rented server yet."
        raise StateError(message, hint="answer page 'tunnel' first")
    return draft.tunnel
