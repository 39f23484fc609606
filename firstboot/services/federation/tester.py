"""The Matrix project's public federation tester: an outside that everybody has.

It looks at a server as others see it, and so learns the server's name from whoever asks: it is
asked seldom, within the bounds of ``Contract``, and the pages say that it is. Its answer is the
JSON of github.com/matrix-org/matrix-federation-tester (main.go, ServerReport).
HEARTH_FEDERATION_TESTER in the environment, a URL, replaces it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import Any

from appliance.errors import DeadlineError, NetworkError
from services.bounded import PLAIN, read_plain, within
from services.federation.fetch import Fault

PUBLIC_TESTER = "https://federationtester.matrix.org/api/report"
CONNECT_SECONDS = 10.0
TOTAL_SECONDS = 120.0
# It waits ten seconds for each address of ours, and longer for a well-known that does not come.
ANSWER_SECONDS = 100.0
MAX_ANSWER = 512 * 1024
MAX_SAID = 160
MAX_CONNECTIONS = 16
OK = 200
MINUTE = 60.0
PAUSE = 10 * MINUTE
DAY = 24 * 60 * MINUTE
FRESH = DAY + 60 * MINUTE
# After the first, second ... time in a row that it could not be asked.
WAITS = (PAUSE, 30 * MINUTE, 2 * 60 * MINUTE, 6 * 60 * MINUTE, DAY)


@dataclass(frozen=True, kw_only=True)
class Connection:
    """One address of ours as the tester saw it; without ``fault`` all was as it must be."""

    address: str
    fault: Fault | None = None
    said: str = ""
    is_other_server: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    """``delegate`` is the well-known's; ``well_known`` why there is none. ``version`` likewise."""

    is_ok: bool
    delegate: str = ""
    well_known: str = ""
    connections: tuple[Connection, ...] = ()
    version: str = ""
    version_error: str = ""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What outlives a run: when it was asked, about which state of ours, and what it said.

    Times are seconds since the epoch, 0 for never. ``news`` is the state of ours that it was asked
    about last, ``answer`` what it said, at ``answered``, about that state.
    """

    asked: float = 0.0
    answered: float = 0.0
    news: tuple[str, ...] = ()
    failures: int = 0
    error: str = ""
    answer: Answer | None = None


def may_ask(memory: Memory, now: float, news: tuple[str, ...], *, wanted: bool) -> bool:
    """Once a day and after news, sooner when the owner wants to know; never within ten minutes.

    A time in the future means that the clock was set back since: then it counts from now
    (``with_clock``).
    """
    age = now - memory.asked
    if memory.asked and age < PAUSE:
        return False
    if wanted or not memory.asked:
        return True
    if memory.failures:
        return age >= WAITS[min(memory.failures, len(WAITS)) - 1]
    return age >= DAY or memory.news != news


def with_clock(memory: Memory, now: float) -> Memory:
    """The memory with no time in the future."""
    return replace(memory, asked=min(memory.asked, now), answered=min(memory.answered, now))


def begin(memory: Memory, now: float, news: tuple[str, ...]) -> Memory:
    """Before a question, as if it had failed: a machine that dies each time asks seldom too."""
    return Memory(
        asked=now,
        answered=memory.answered,
        news=news,
        failures=memory.failures + 1,
        error="the last question to the federation tester was broken off",
        # What was said about another state of ours says nothing about this one.
        answer=memory.answer if memory.news == news else None,
    )


def conclude(memory: Memory, now: float, answer: Answer) -> Memory:
    return replace(memory, answered=now, failures=0, error="", answer=answer)


def valid_answer(memory: Memory, now: float, news: tuple[str, ...]) -> Answer | None:
    """The last answer, as long as it is about the present state and not of long ago."""
    is_fresh = memory.news == news and now - memory.answered < FRESH
    return memory.answer if is_fresh else None


def tester_url() -> str:
    return os.environ.get("HEARTH_FEDERATION_TESTER", PUBLIC_TESTER)


def ask_tester(name: str, url: str = "") -> Answer:
    """One question about ``name``. Raises NetworkError when there is no report."""
    try:
        return read_report(within(lambda: _fetch(name, url or tester_url()), seconds=TOTAL_SECONDS))
    except DeadlineError as error:
        raise NetworkError(f"the federation tester: {error.message}") from error


def _fetch(name: str, url: str) -> bytes:
    import requests

    try:
        with requests.get(
            url,
            params={"server_name": name},
            headers=PLAIN,
            timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
            allow_redirects=False,
            stream=True,
        ) as response:
            if response.status_code != OK:
                raise NetworkError(f"it answers with status {response.status_code}")
            return read_plain(response, MAX_ANSWER + 1)
    except requests.exceptions.SSLError as error:
        raise NetworkError("the certificate of the federation tester is not valid") from error
    except requests.exceptions.Timeout as error:
        raise NetworkError("the federation tester does not answer in time") from error
    except (requests.exceptions.RequestException, OSError) as error:
        raise NetworkError("the federation tester cannot be reached") from error
    except NetworkError as error:
        raise NetworkError(f"the federation tester: {error.message}") from error
    except Exception as error:  # urllib3's, while the body is read
        raise NetworkError(f"the federation tester broke off: {type(error).__name__}") from error


def read_report(body: bytes) -> Answer:
    """Raises NetworkError for what is no report: a web page, or too much."""
    try:
        if len(body) > MAX_ANSWER:
            raise ValueError
        table = json.loads(body)
        return _answer(table)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        message = "the federation tester answers something that is no report"
        raise NetworkError(message) from None


def _answer(table: dict[str, Any]) -> Answer:
    well_known, version = table["WellKnownResult"], table["Version"]
    connections = [_failed(one, why) for one, why in (table["ConnectionErrors"] or {}).items()]
    connections += [_seen(one, it) for one, it in (table["ConnectionReports"] or {}).items()]
    words = [str(version.get(name, "")) for name in ("name", "version")]
    return Answer(
        is_ok=table["FederationOK"] is True,
        delegate=_short(well_known.get("m.server", "")),
        well_known=_short(well_known.get("result") or table.get("Error") or ""),
        connections=tuple(sorted(connections, key=lambda one: one.address)[:MAX_CONNECTIONS]),
        version=_short(" ".join(word for word in words if word)),
        version_error=_short(version.get("error", "")),
    )


def _failed(address: str, error: Any) -> Connection:
    said = _short(_message(error))
    return Connection(address=_short(address), fault=classify(said), said=said)


def _seen(address: str, report: dict[str, Any]) -> Connection:
    """Connected, and keys of some server received."""
    checks, address = report["Checks"], _short(address)
    said = _short("; ".join(_message(error) for error in report.get("Errors") or ()))
    if not checks["ValidCertificates"]:
        fault = classify(said)
        known = (Fault.EXPIRED, Fault.WRONG_NAME)
        return Connection(
            address=address, fault=fault if fault in known else Fault.UNTRUSTED, said=said
        )
    if checks["AllChecksOK"]:
        return Connection(address=address)
    is_other = not checks["MatchingServerName"]
    said = "its keys are those of another server" if is_other else "its keys are not signed rightly"
    return Connection(address=address, fault=Fault.GARBLED, said=said, is_other_server=is_other)


# Words of Go's net, crypto/tls and crypto/x509 packages, the first that fits.
GO_WORDS = (
    ("connection refused", Fault.REFUSED),
    ("no route", Fault.UNREACHABLE),
    ("unreachable", Fault.UNREACHABLE),
    ("timeout", Fault.SILENT),
    ("deadline exceeded", Fault.SILENT),
    ("expired", Fault.EXPIRED),
    ("is valid for", Fault.WRONG_NAME),
    ("not valid for any names", Fault.WRONG_NAME),
    ("x509", Fault.UNTRUSTED),
    ("Non-200", Fault.STATUS),
)


def classify(said: str) -> Fault:
    return next((fault for words, fault in GO_WORDS if words in said), Fault.GARBLED)


def _message(error: Any) -> str:
    return str(error.get("Message", error)) if isinstance(error, dict) else str(error)


def _short(text: Any) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in str(text)).split())[
        :MAX_SAID
    ]
