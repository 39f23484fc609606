"""HTTP with a provider: bounded, honest about who asks, and silent about secrets.

Tokens travel in the query of most of these protocols, and the HTTP library puts the URL into its
messages; so none of them leaves this module.
"""

from __future__ import annotations

import html
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from appliance.errors import DeadlineError, NetworkError
from services.bounded import PLAIN, read_plain, within
from services.ddns.outcome import Kind, RefusalError
from services.ddns.provider import Account

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
TOTAL_SECONDS = 45.0
MAX_BODY = 256 * 1024
# What is looked at with regular expressions: some take the square of the length. The answers of
# the protocols that are words and not JSON are far shorter.
MAX_WORDS = 4096
MAX_SAID = 120
HIDDEN = "[secret]"
# RFC 9110 section 15: OK, Created, No Content; and what the owner's name or token is wrong about.
REST_DONE = (200, 201, 204)
REST_REFUSALS = {400: Kind.REFUSED, 403: Kind.NOTYOURS, 404: Kind.NOHOST}
# noip.com/integrate/request: Company Program/OS-Version contact@mail; RFC 2142 names the mailbox.
AGENT = "Hearth hearthctl/Linux-1 hostmaster@{name}"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """``said`` is a short form for people, free of secrets."""

    status: int
    text: str = field(repr=False)
    said: str
    retry_after: float = 0.0

    @property
    def is_page(self) -> bool:
        """Whether this is meant for a browser: a portal, or a provider in trouble."""
        return bool(re.match(r"\s*(<!doctype html|<html)", self.words, re.IGNORECASE))

    @property
    def words(self) -> str:
        return self.text[:MAX_WORDS]

    def json(self) -> Any:
        """The body parsed. Raises RefusalError when it is not JSON."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            raise self.unexpected() from None

    def require(self, *also: int) -> Reply:
        """This, when a REST server has done it, or its status is among ``also``.

        Raises RefusalError for what the status says is wrong.
        """
        if self.status in (*REST_DONE, *also):
            return self
        kind = REST_REFUSALS.get(self.status)
        raise RefusalError(kind, self.said) if kind else self.unexpected()

    def unexpected(self) -> RefusalError:
        """What to raise about an answer that the protocol does not know."""
        match self.status:
            case 401:
                kind = Kind.BADAUTH
            case 429:
                kind = Kind.LIMITED
            case status if status >= 500:  # noqa: PLR2004
                kind = Kind.OUTAGE
            case _:
                kind = Kind.GARBLED
        return RefusalError(kind, self.said, retry_after=self.retry_after)


class PlainAuth:
    """Sets just our header: left to itself, requests prefers what a .netrc says."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._value:
            request.headers["Authorization"] = self._value
        return request


class Web:
    """Asks on behalf of one account."""

    def __init__(self, account: Account, *, secrets: tuple[str, ...] = ()) -> None:
        self._agent = AGENT.format(name=account.name)
        self._secrets = tuple(text for text in (account.secret, *secrets) if text)

    def ask(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        authorization: str = "",
    ) -> Reply:
        """One request, one answer. Raises RefusalError when there is none in time."""
        # With --debug the root logger would print every URL, and with it the token.
        logging.getLogger("urllib3").setLevel(logging.WARNING)

        def ask() -> Reply:
            return self._ask(method, url, params, json, authorization)

        try:
            return within(ask, seconds=TOTAL_SECONDS)
        except DeadlineError as error:
            raise RefusalError(Kind.UNREACHABLE, error.message) from None

    def _ask(
        self,
        method: str,
        url: str,
        params: Mapping[str, str] | None,
        json: Any,
        authorization: str,
    ) -> Reply:
        import requests

        try:
            with requests.request(
                method,
                url,
                params=params,
                json=json,
                auth=PlainAuth(authorization),
                headers={"User-Agent": self._agent, **PLAIN},
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                allow_redirects=False,  # a token is for the address that it was given for
                stream=True,
            ) as response:
                text = _read(response)
        except requests.RequestException as error:
            raise RefusalError(Kind.UNREACHABLE, _reason(error)) from None
        except Exception as error:  # urllib3's, while the body is read
            raise RefusalError(Kind.UNREACHABLE, type(error).__name__) from None
        return Reply(
            status=response.status_code,
            text=text,
            said=self._clean(response.status_code, text),
            retry_after=_seconds(response.headers.get("Retry-After", "")),
        )

    def _clean(self, status: int, text: str) -> str:
        # Before it is cut as well: half a secret is not found any more.
        text = self._hide(text)[:MAX_WORDS]
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        if title:
            text = f"a web page: {html.unescape(title.group(1))}"
        text = re.sub(r"<[^<>]*>", " ", text)
        text = self._hide(text)
        printable = "".join(char if char.isprintable() else " " for char in text)
        short = " ".join(printable.split())[:MAX_SAID]
        return f"HTTP {status}: {short}" if short else f"HTTP {status}"

    def _hide(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text


def _read(response: requests.Response) -> str:
    """Nothing of a body that is packed: what the status says counts all the same."""
    try:
        return read_plain(response, MAX_BODY).decode("utf-8", "replace")
    except NetworkError as error:
        return error.message


def _reason(error: requests.RequestException) -> str:
    """The library's own words hold the URL, so only the sort of trouble is told."""
    import requests

    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate could not be verified; is the clock right?"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        if "NameResolution" in str(error) or "getaddrinfo" in str(error):
            return "its name could not be looked up"
        return "no connection"
    return type(error).__name__


def _seconds(value: str) -> float:
    """RFC 9110 section 10.2.3 also knows a date, which no DDNS provider sends."""
    return float(value) if value.isdecimal() else 0.0


def basic(user: str, secret: str) -> str:
    """RFC 7617."""
    import base64

    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()


def zones_above(name: str) -> Iterator[tuple[str, str]]:
    """(zone, what stands before it) for every domain that may hold ``name``, the longest first."""
    labels = name.split(".")
    for start in range(len(labels) - 1):
        yield ".".join(labels[start:]), ".".join(labels[:start])
