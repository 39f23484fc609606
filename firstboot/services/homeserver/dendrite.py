"""Dendrite: one Go program with a smaller appetite, in maintenance mode upstream."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from appliance.atomic import write_atomic
from appliance.paths import Paths
from appliance.run import Argument, run
from appliance.settings import Software
from services.checkers import run_checker
from services.homeserver.schema import DENDRITE_QUERY, Schema
from services.owners import as_user
from services.render import Action, Template

UNIT = "hearth-dendrite.service"
PROGRAMS = Path("/usr/lib/hearth/dendrite")
RUN_SECONDS = 120
# Dendrite has no check mode. It reads and verifies its configuration before it sets up logging,
# and stops at a log type that it does not know (dendrite/cmd/dendrite/main.go, internal/log_unix.go
# at v0.15.2). So a copy with this type, refused for nothing else, is a configuration that it takes.
PROBE = "hearth-check"


@dataclass(frozen=True)
class Dendrite:
    """For boards with little memory and clients of the classic kind."""

    software: Software = Software.DENDRITE
    title: str = "Dendrite"
    unit: str = UNIT
    user: str = "dendrite"
    health_path: str = "/_dendrite/monitor/health"
    state_table: str = "syncapi_current_room_state"
    one_time_keys: str = "keyserver_one_time_keys"
    schema_query: str = DENDRITE_QUERY
    # What its parts still have to tell each other (NATS JetStream).
    beside: tuple[str, ...] = ("jetstream",)
    lacks: tuple[str, ...] = (
        "Element X does not work with it: it has no sliding sync.",
        "It gets security fixes only; nobody adds features to it any more.",
        "No search in messages, and no tools to manage users and rooms.",
        "There is no way to move to Synapse later without starting over.",
    )
    templates: tuple[Template, ...] = (
        Template(
            source="dendrite/dendrite.yaml.j2",
            target="dendrite/dendrite.yaml",
            group="dendrite",
            unit=UNIT,
            action=Action.RESTART,
        ),
        Template(
            source="dendrite/environment.j2",
            target="dendrite/environment",
            group="root",
            unit=UNIT,
            action=Action.RESTART,
        ),
    )

    def directory(self, paths: Paths) -> Path:
        return paths.homeserver / "dendrite"

    def signing_key(self, paths: Paths) -> Path:
        return self.directory(paths) / "signing.key"

    def socket(self, paths: Paths) -> Path:
        return paths.root / "run" / "hearth-dendrite" / "http.sock"

    def make_signing_key(self, paths: Paths, target: Path) -> None:
        run([PROGRAMS / "generate-keys", "--private-key", target], timeout=RUN_SECONDS)

    def check(self, paths: Paths, config: Path) -> None:
        original = config / "dendrite" / "dendrite.yaml"
        text = original.read_text()
        assert text.count("- type: std") == 1, "the probe needs exactly one log sink"
        probe = original.with_name("probe.yaml")
        status = original.stat()
        write_atomic(
            probe,
            text.replace("- type: std", f"- type: {PROBE}"),
            mode=stat.S_IMODE(status.st_mode),
            owner=(status.st_uid, status.st_gid),
        )
        argv: list[Argument] = [PROGRAMS / "dendrite", "-config", probe,
                                "-unix-socket", config / "never.sock"]  # fmt: skip
        try:
            run_checker(
                "Dendrite",
                as_user(paths, self.user, argv),
                accepted=f"Unrecognised logging hook type: {PROBE}",
            )
        finally:
            probe.unlink(missing_ok=True)

    def version(self, paths: Paths) -> str:
        return run([PROGRAMS / "dendrite", "-version"], timeout=RUN_SECONDS).stdout.strip()

    def schema(self, paths: Paths) -> Schema:
        """It declares nothing: only what it has done to a database can be seen."""
        return Schema()
