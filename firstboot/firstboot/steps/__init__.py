"""The first-boot steps, in order."""

from __future__ import annotations

from firstboot.steps.account import CreateAdministrator
from firstboot.steps.certificate import IssueCertificate
from firstboot.steps.check import CheckEverything
from firstboot.steps.configuration import WriteConfiguration
from firstboot.steps.context import Step
from firstboot.steps.database import SetUpDatabase
from firstboot.steps.device import SetTimezone
from firstboot.steps.homeserver import StartHomeserver
from firstboot.steps.identity import MakeIdentity
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
