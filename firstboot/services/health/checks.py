"""All health checks, in the order in which they are shown."""

from __future__ import annotations

from services.health.addresses import AddressCheck
from services.health.agent import AgentCheck
from services.health.certificate import CertificateCheck
from services.health.clock import ClockCheck
from services.health.data import DataCheck
from services.health.database import DatabaseCheck
from services.health.ddns import DdnsCheck
from services.health.failures import FailedUnitsCheck
from services.health.federation import FederationCheck
from services.health.homeserver import ClientCheck, HomeserverCheck
from services.health.identity import IdentityCheck
from services.health.pages import PagesCheck, ProxyCheck
from services.health.portmap import PortmapCheck
from services.health.reach import ReachCheck
from services.health.result import Check
from services.health.slot import SlotCheck
from services.health.tunnel import TunnelCheck
from services.health.updates import UpdatesCheck

CHECKS: tuple[Check, ...] = (
    SlotCheck(),
    UpdatesCheck(),
    DataCheck(),
    ClockCheck(),
    AddressCheck(),
    AgentCheck(),
    ProxyCheck(),
    PagesCheck(),
    CertificateCheck(),
    DdnsCheck(),
    DatabaseCheck(),
    IdentityCheck(),
    HomeserverCheck(),
    ClientCheck(),
    ReachCheck(),
    PortmapCheck(),
    TunnelCheck(),
    FederationCheck(),
    FailedUnitsCheck(),
)
