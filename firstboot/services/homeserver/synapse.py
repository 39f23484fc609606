"""Synapse: the reference homeserver, installed as Python packages in a directory of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.errors import StateError
from appliance.paths import Paths
from appliance.run import Argument, run
from appliance.settings import Software
from services.checkers import run_checker
from services.homeserver.schema import SYNAPSE_QUERY, Schema, code_schema
from services.owners import as_user
from services.render import Action, Template

UNIT = "hearth-synapse.service"
PYTHON = "/usr/bin/python3"
SITE = Path("/usr/lib/hearth/synapse")
KEY_SECONDS = 300


@dataclass(frozen=True)
class Synapse:
    """Everything that Matrix clients can ask for, at the price of memory."""

    software: Software = Software.SYNAPSE
    title: str = "Synapse"
    unit: str = UNIT
    user: str = "synapse"
    health_path: str = "/health"
    state_table: str = "current_state_events"
    one_time_keys: str = "e2e_one_time_keys_json"
    schema_query: str = SYNAPSE_QUERY
    beside: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    templates: tuple[Template, ...] = (
        Template(
            source="synapse/homeserver.yaml.j2",
            target="synapse/homeserver.yaml",
            group="synapse",
            unit=UNIT,
            action=Action.RESTART,
        ),
        Template(
            source="synapse/log.yaml.j2",
            target="synapse/log.yaml",
            group="synapse",
            unit=UNIT,
            action=Action.RESTART,
        ),
    )

    def directory(self, paths: Paths) -> Path:
        return paths.homeserver / "synapse"

    def signing_key(self, paths: Paths) -> Path:
        return self.directory(paths) / "signing.key"

    def socket(self, paths: Paths) -> Path:
        return paths.root / "run" / "hearth-synapse" / "http.sock"

    def make_signing_key(self, paths: Paths, target: Path) -> None:
        """Synapse's key tool: what --generate-keys calls, without loading all of Synapse."""
        argv: list[Argument] = ["-m", "synapse._scripts.generate_signing_key", "-o", target]
        run([PYTHON, *argv], env=self._environment(), timeout=KEY_SECONDS)

    def check(self, paths: Paths, config: Path) -> None:
        file = config / "synapse" / "homeserver.yaml"
        argv: list[Argument] = [PYTHON, "-m", "synapse.config", "-c", file]
        run_checker("Synapse", as_user(paths, self.user, argv), env=self._environment())

    def version(self, paths: Paths) -> str:
        """From the wheel's metadata directory; asking Synapse would load all of it."""
        site = paths.root / SITE.relative_to("/")
        for found in site.glob("matrix_synapse-*.dist-info"):
            return found.name.removeprefix("matrix_synapse-").removesuffix(".dist-info")
        raise StateError(f"Synapse is not installed in {SITE}")

    def schema(self, paths: Paths) -> Schema:
        site = paths.root / SITE.relative_to("/")
        return code_schema(site / "synapse" / "storage" / "schema" / "__init__.py")

    def _environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(SITE), "PYTHONDONTWRITEBYTECODE": "1"}
