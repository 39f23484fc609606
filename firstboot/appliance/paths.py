"""Every path on the appliance, under a root that tests may move."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Where things are; ``Paths(tmp_path)`` gives a test its own appliance."""

    root: Path = Path("/")

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def hearth(self) -> Path:
        """Ours on the data partition, 0750 root:hearth-ui."""
        return self.data / "hearth"

    @property
    def settings(self) -> Path:
        return self.hearth / "settings.toml"

    @property
    def secrets(self) -> Path:
        """0600 root: never readable by the UI."""
        return self.hearth / "secrets.toml"

    @property
    def draft(self) -> Path:
        """What the wizard has been told so far, 0600 root."""
        return self.hearth / "draft.toml"

    @property
    def preseed(self) -> Path:
        """What was set at flashing and taken off the card, 0600 root."""
        return self.hearth / "preseed.toml"

    @property
    def state(self) -> Path:
        """Phase and steps, 0640 root:hearth-ui; the progress page reads it without the agent."""
        return self.hearth / "state.json"

    @property
    def sessions(self) -> Path:
        return self.hearth / "sessions.json"

    @property
    def results(self) -> Path:
        """What each recurring job found last, one JSON file a job, 0640 root:hearth-ui."""
        return self.hearth / "results"

    @property
    def update(self) -> Path:
        """state.json (appliance.update), history.json, what a channel said last."""
        return self.hearth / "update"

    @property
    def snapshots(self) -> Path:
        """Databases as they were before a new version first touched them, 0700 root."""
        return self.data / "snapshots"

    @property
    def failures(self) -> Path:
        """Why an update or a file system failed, with the last lines of its journal."""
        return self.data / "failures"

    @property
    def reset(self) -> Path:
        """A factory reset that was ordered: the next start's initramfs carries it out."""
        return self.data / "reset.json"

    @property
    def reset_done(self) -> Path:
        """What the last factory reset was, and how long what it put aside is kept."""
        return self.data / "reset-done.json"

    @property
    def before_reset(self) -> Path:
        """All of the data partition as it was before a factory reset, 0700 root."""
        return self.data / "before-reset"

    @property
    def certificates(self) -> Path:
        return self.data / "certificates"

    @property
    def homeserver(self) -> Path:
        """Signing key and media of Synapse or Dendrite."""
        return self.data / "homeserver"

    @property
    def postgresql(self) -> Path:
        return self.data / "postgresql" / "17"

    @property
    def ssh(self) -> Path:
        return self.data / "ssh"

    @property
    def system(self) -> Path:
        """machine-id, /var/lib/systemd and the like, bound to their places by the initramfs."""
        return self.data / "system"

    @property
    def runtime(self) -> Path:
        return self.root / "run" / "hearth"

    @property
    def boot_report(self) -> Path:
        """What the initramfs found: ``name=value`` lines (see appliance.bootreport)."""
        return self.runtime / "boot"

    @property
    def agent_socket(self) -> Path:
        return self.runtime / "agent.sock"

    @property
    def router_news(self) -> Path:
        """Is there when the router or our address has changed; the port job takes it away."""
        return self.root / "run" / "hearth-router" / "changed"

    @property
    def rendered(self) -> Path:
        """Rendered configuration that is ours alone; /etc is a tmpfs overlay on the slot's."""
        return self.root / "etc" / "hearth"

    @property
    def last_time(self) -> Path:
        """Touched while a time server sets the clock; loaded at start-up
        (systemd-timesyncd.service(8))."""
        return self.root / "var/lib/systemd/timesync/clock"

    @property
    def bootfs(self) -> Path:
        """The FAT partition, mounted read-only but for the moment of a write."""
        return self.root / "boot" / "firmware"

    @property
    def templates(self) -> Path:
        return self.root / "usr" / "share" / "hearth" / "templates"

    @property
    def image_facts(self) -> Path:
        """The image's version, kind and build facts as JSON, made by imagebuild."""
        return self.root / "usr" / "share" / "hearth" / "image.json"
