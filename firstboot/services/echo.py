"""Under which address others see us: asked of two services on the Internet that must agree.

The only place that names them. HEARTH_ECHO_IPV4 and HEARTH_ECHO_IPV6 in the environment, URLs
with spaces between, replace them: for tests, and for owners with services of their own.
"""

from __future__ import annotations

import ipaddress
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.deadline import Deadline
from appliance.errors import NetworkError

# Names that have addresses of one family only, so that the answer is of that family.
IPV4_SERVICES = ("https://api.ipify.org/", "https://ipv4.icanhazip.com/")
IPV6_SERVICES = ("https://api6.ipify.org/", "https://ipv6.icanhazip.com/")
ASK_SECONDS = 4.0
TOTAL_SECONDS = 6.0
MAX_ANSWER = 64
OK = 200


@dataclass(frozen=True, kw_only=True)
class Echo:
    """One service's answer: ``address``, or why there is none."""

    service: str
    address: str = ""
    error: str = ""


def services(version: int) -> tuple[str, ...]:
    chosen = os.environ.get(f"HEARTH_ECHO_IPV{version}", "").split()
    return tuple(chosen) or (IPV4_SERVICES if version == 4 else IPV6_SERVICES)  # noqa: PLR2004


def ask_services(urls: Sequence[str], version: int = 4) -> tuple[Echo, ...]:
    """All at the same time, and none for longer than TOTAL_SECONDS.

    No library has a limit for all of it: a name takes the resolver ten seconds on a dead line, and
    each of its addresses has a time of its own. What comes later is left to itself.
    """
    if urls:
        # A slow board takes seconds to load it, and those are not the services'.
        import requests  # noqa: F401
    found: dict[str, Echo] = {}

    def ask(url: str) -> None:
        found[url] = _ask(url, version)

    threads = [threading.Thread(target=ask, args=(url,), daemon=True) for url in urls]
    for thread in threads:
        thread.start()
    deadline = Deadline(TOTAL_SECONDS)
    for thread in threads:
        thread.join(deadline.remaining)
    late = f"no answer within {TOTAL_SECONDS:.0f} s"
    return tuple(found.get(url) or Echo(service=url, error=late) for url in urls)


def agreed(echoes: Sequence[Echo]) -> str:
    """The address that every service that answered saw, if there were at least two of them."""
    seen = [echo.address for echo in echoes if echo.address]
    return seen[0] if len(seen) > 1 and len(set(seen)) == 1 else ""


def _ask(url: str, version: int) -> Echo:
    try:
        return Echo(service=url, address=parse_answer(_fetch(url), version))
    except NetworkError as error:
        return Echo(service=url, error=error.message)


def _fetch(url: str) -> str:
    import requests

    try:
        # No redirects: what answers instead of the service is a hotel's sign-in page or the like.
        with requests.get(url, timeout=ASK_SECONDS, allow_redirects=False, stream=True) as answer:
            if answer.status_code != OK:
                raise NetworkError(f"it answered with status {answer.status_code}")
            body = answer.raw.read(MAX_ANSWER + 1, decode_content=True)
    except requests.exceptions.SSLError as error:
        message = "its certificate is not valid: somebody in between, or a wrong clock here"
        raise NetworkError(message) from error
    except requests.exceptions.Timeout as error:
        raise NetworkError(f"no answer within {ASK_SECONDS:.0f} s") from error
    except (requests.exceptions.RequestException, OSError) as error:
        raise NetworkError("it cannot be reached") from error
    return str(body.decode("ascii", errors="replace"))


def parse_answer(text: str, version: int) -> str:
    """The address, and nothing else. Raises NetworkError, e.g. for a web page."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError as error:
        raise NetworkError(f"it answered {text.strip()[:40]!r}, which is no address") from error
    if address.version != version:
        raise NetworkError(f"it answered {address}, which is not IPv{version}")
    return str(address)
