"""What the agent makes the machine do; tests pass another one and stay on the ground."""

from __future__ import annotations

from typing import Protocol

from appliance.errors import HearthError
from appliance.log import logger
from appliance.run import run

START_SECONDS = 30
GIVE_BACK_SECONDS = 60
NEIGHBOURS = "hearth-neighbours.service"
# Who tells the host name to others: by DHCP, by mDNS.
NAMED = ("hearth-hostname.service", "systemd-networkd.service", "avahi-daemon.service")


class Host(Protocol):
    """The few acts that reach beyond files."""

    def start_provisioning(self) -> None:
        """Start the provisioning unit, or do nothing where it runs. Returns at once."""
        ...

    def start_network_check(self) -> None:
        """Start the unit that measures what this connection allows. Returns at once."""
        ...

    def start_address_check(self) -> None:
        """Start the unit that tries the answers of page "address". Returns at once."""
        ...

    def start_tunnel_check(self) -> None:
        """Start the unit that tries the tunnel of page "tunnel". Returns at once."""
        ...

    def start_federation_check(self) -> None:
        """Start the unit that looks whether other servers get in. Returns at once."""
        ...

    def look_for_update(self) -> None:
        """Start the unit that asks the channel. Returns at once, like the next two."""
        ...

    def install_update(self) -> None:
        """Start the unit that installs what the channel offers."""
        ...

    def restart_into_update(self) -> None:
        """Start the unit that begins the trial of what is installed."""
        ...

    def give_back_ports(self) -> None:
        """Run the unit that closes what nobody wants any more, to its end; never raises."""
        ...

    def start_ssh(self) -> None: ...

    def start_wifi(self) -> None:
        """Start the unit that joins the Wi-Fi network of /run/hearth/wifi.conf. Returns at once."""
        ...

    def rename(self) -> None:
        """Let the system and the network learn the host name that was noted. Returns at once."""
        ...

    def renew_certificate(self) -> None:
        """Start the unit that issues a certificate where one is due. Returns at once."""
        ...

    def note_neighbours(self) -> None:
        """Start the unit that tells strangers from the home network anew. Never raises."""
        ...

    def reboot(self) -> None: ...

    def restart_into_reset(self) -> None:
        """Start the unit that gives the router's ports back and restarts. Returns at once."""
        ...


class SystemHost:
    """The real appliance: all by systemd, which orders, logs and restarts."""

    def start_provisioning(self) -> None:
        self._start_again("hearth-provision.service")

    def start_network_check(self) -> None:
        self._start_again("hearth-network-check.service")

    def start_address_check(self) -> None:
        self._start_again("hearth-ddns-check.service")

    def start_tunnel_check(self) -> None:
        self._start_again("hearth-tunnel-check.service")

    def start_federation_check(self) -> None:
        self._start_again("hearth-federation-check.service")

    def look_for_update(self) -> None:
        self._start_again("hearth-update-check.service")

    def install_update(self) -> None:
        self._start_again("hearth-update-install.service")

    def restart_into_update(self) -> None:
        self._start_again("hearth-update-restart.service")

    def give_back_ports(self) -> None:
        try:
            run(["systemctl", "start", "hearth-portmap.service"], timeout=GIVE_BACK_SECONDS)
        except HearthError as error:
            logger.warning("the ports could not be given back: %s", error.message)

    def start_ssh(self) -> None:
        self._start("ssh.service")

    def start_wifi(self) -> None:
        self._start_again("hearth-wifi.service")

    def rename(self) -> None:
        # In one transaction, which runs them in the order that their units ask for.
        run(["systemctl", "restart", "--no-block", *NAMED], timeout=START_SECONDS)

    def renew_certificate(self) -> None:
        self._start("hearth-certificate.service")

    def note_neighbours(self) -> None:
        try:
            # One that runs may have read the networks before their change.
            run(["systemctl", "restart", "--no-block", NEIGHBOURS], timeout=START_SECONDS)
        except HearthError as error:
            logger.warning("the rules for strangers stay as they were: %s", error.message)

    def restart_into_reset(self) -> None:
        self._start_again("hearth-reset.service")

    def reboot(self) -> None:
        run(["systemctl", "reboot", "--no-block"], timeout=START_SECONDS)

    def _start_again(self, unit: str) -> None:
        # A unit that failed before counts as failed until reset; a running one is left alone.
        run(["systemctl", "reset-failed", unit], check=False, timeout=START_SECONDS)
        self._start(unit)

    def _start(self, unit: str) -> None:
        run(["systemctl", "start", "--no-block", unit], timeout=START_SECONDS)
