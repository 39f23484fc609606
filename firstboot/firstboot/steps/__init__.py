"""The first-boot steps, in order."""

from __future__ import annotations

from appliance.settings import Settings, Way
from firstboot.steps.account import CreateAdministrator
from firstboot.steps.certificate import IssueCertificate
from firstboot.steps.check import CheckEverything
from firstboot.steps.configuration import WriteConfiguration
from firstboot.steps.context import Step
from firstboot.steps.database import SetUpDatabase
from firstboot.steps.device import SetTimezone
from firstboot.steps.homeserver import StartHomeserver
from firstboot.steps.identity import MakeIdentity
from firstboot.steps.outside import (
    GetCertificate,
    OpenPorts,
    PublishName,
    StartTunnel,
    StayReachable,
)
from firstboot.steps.secrets import MakeSecrets

STEPS: tuple[Step, ...] = (
    SetTimezone(),
    MakeSecrets(),
    IssueCertificate(),
    MakeIdentity(),
    WriteConfiguration(),
    SetUpDatabase(),
    StartHomeserver(),
    CreateAdministrator(),
    CheckEverything(),
)
# After everything else: the homeserver works at home before the world is asked for anything.
PUBLIC_STEPS: tuple[Step, ...] = (OpenPorts(), PublishName(), GetCertificate(), StayReachable())
TUNNEL_STEPS: tuple[Step, ...] = (StartTunnel(), *PUBLIC_STEPS[1:])


def find_steps(settings: Settings | None) -> tuple[Step, ...]:
    """What this setup needs."""
    if settings is None or settings.public is None:
        return STEPS
    return STEPS + (TUNNEL_STEPS if settings.public.way is Way.TUNNEL else PUBLIC_STEPS)
