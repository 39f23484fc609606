"""One file of a channel over HTTP: conditional, bounded in size and time, nothing told of us.

What comes is verified by its signature, so plain http is fit for it. But nobody on the way shall
lead us from https to http, nor from http to another machine, say one of our own home network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from appliance.errors import ConfigError, DeadlineError, NetworkError
from services.bounded import PLAIN, read_plain, within

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
TOTAL_SECONDS = 60.0
MAX_REDIRECTS = 3
MAX_VALIDATOR = 256
AGENT = "Hearth"
OK, NOT_MODIFIED, NOT_FOUND, GONE = 200, 304, 404, 410
REDIRECTS = (301, 302, 303, 307, 308)  # RFC 9110 section 15.4


@dataclass(frozen=True, kw_only=True)
class Validators:
    """What the server called the state that we have (RFC 9110 section 8.8)."""

    etag: str = ""
    modified: str = ""

    def headers(self) -> dict[str, str]:
        """With an ETag the date is left out: a server has to pass over it (section 13.1.3)."""
        if self.etag:
            return {"If-None-Match": self.etag}
        return {"If-Modified-Since": self.modified} if self.modified else {}


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """``body`` is None when nothing has changed since ``validators``."""

    body: bytes | None = field(repr=False)
    validators: Validators


def check_url(url: str) -> str:
    """``url`` itself, when it is one that may be asked. Raises ConfigError."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good, parts = False, urlsplit("")
    if not is_good or parts.username is not None or parts.fragment:
        message = f"{url!r} is no address of an update server"
        raise ConfigError(message, hint="it looks like https://updates.example.org/hearth")
    return url


def fetch(
    url: str, *, limit: int, known: Validators | None = None, seconds: float = TOTAL_SECONDS
) -> Fetched:
    """The whole of ``url``, at most ``limit`` bytes.

    Raises NetworkError, and ConfigError for an address that is none.
    """
    import requests  # noqa: F401 - a slow board takes seconds to load it, not the server's

    host = urlsplit(check_url(url)).hostname
    try:
        return within(lambda: _follow(url, known or Validators(), limit), seconds=seconds)
    except DeadlineError as error:
        raise NetworkError(f"{host}: {error.message}") from error
    except NetworkError as error:
        raise NetworkError(f"{host}: {error.message}", hint=error.hint) from error


def _follow(url: str, known: Validators, limit: int) -> Fetched:
    for _ in range(MAX_REDIRECTS + 1):
        answer = _ask(url, known, limit)
        if isinstance(answer, Fetched):
            return answer
        url = allowed(url, answer)
    raise NetworkError("it sends us from one address to the next")


def allowed(url: str, location: str) -> str:
    """Where ``location`` leads. Raises NetworkError where it must not lead."""
    try:
        target = check_url(urljoin(url, location))
    except (ConfigError, ValueError) as error:
        raise NetworkError("it sends us to an address that is none") from error
    old, new = urlsplit(url), urlsplit(target)
    stays = old.hostname == new.hostname and (old.scheme == "http" or new.scheme == "https")
    if stays or (old.scheme == new.scheme == "https"):
        return target
    message = f"it sends us elsewhere, to {new.scheme}://{new.hostname}"
    raise NetworkError(message, hint="is this a network with a sign-in page?")


def _ask(url: str, known: Validators, limit: int) -> Fetched | str:
    """The answer, or where it redirects to."""
    import requests

    headers = {"User-Agent": AGENT, "Accept": "*/*", **PLAIN, **known.headers()}
    try:
        with requests.get(
            url,
            headers=headers,
            auth=_keep_auth,
            timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
            allow_redirects=False,
            stream=True,
        ) as response:
            if response.status_code in REDIRECTS:
                return str(response.headers.get("Location", ""))
            return _read(response, known, limit)
    except NetworkError:
        raise
    except requests.exceptions.SSLError as error:
        message = "its certificate is not valid: somebody in between, or a wrong clock here"
        raise NetworkError(message) from error
    except requests.exceptions.Timeout as error:
        raise NetworkError("no answer in time") from error
    except (requests.exceptions.RequestException, OSError) as error:
        raise NetworkError("it cannot be reached") from error
    except Exception as error:  # urllib3's, while the body is read
        raise NetworkError(f"it broke off: {type(error).__name__}") from error


def _keep_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Left to itself, requests looks for a password in ~/.netrc."""
    return request


def _read(response: requests.Response, known: Validators, limit: int) -> Fetched:
    status = response.status_code
    if status == NOT_MODIFIED and known.headers():
        return Fetched(body=None, validators=known)
    if status in (NOT_FOUND, GONE):
        raise NetworkError(f"there is nothing at this address (status {status})")
    if status != OK:
        raise NetworkError(f"it answers with status {status}")
    body = read_plain(response, limit + 1)
    if len(body) > limit:
        raise NetworkError(f"it sends more than {limit // 1024} KiB")
    promised = response.headers.get("Content-Length", "")
    if promised.isdecimal() and int(promised) != len(body):
        raise NetworkError(f"it broke off after {len(body)} of {promised} bytes")
    names = ("ETag", "Last-Modified")
    etag, modified = (response.headers.get(name, "")[:MAX_VALIDATOR] for name in names)
    return Fetched(body=body, validators=Validators(etag=etag, modified=modified))
