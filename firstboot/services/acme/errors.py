"""What went wrong with a certificate, in words that lead somewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import requests
from acme import errors, messages

from appliance.errors import CertificateError, NetworkError

# RFC 8555 section 6.7: kinds of refusal, and what an owner can do about each.
HINTS = {
    "dns": "the name does not lead to this house yet; new names take up to an hour to be known",
    "connection": "nothing answered on port 80 from outside; check the port mapping in the router",
    "unauthorized": "something else answered under this name, often the router's own pages",
    "incorrectResponse": "something else answered under this name, often the router's own pages",
    "tls": "something else answered on port 443, often the router's own pages",
    "caa": "a CAA record of this domain forbids this authority; remove it at the DNS provider",
    "dnssec": "the domain's DNSSEC is broken; ask its DNS provider",
    "rateLimited": "too many certificates were asked for; it will be tried again by itself",
    "rejectedIdentifier": "the authority does not issue for this name; choose another one",
    "serverInternal": "the authority has a problem; it will be tried again by itself",
}


@contextmanager
def translated(authority: str, waits: Sequence[int] = ()) -> Iterator[None]:
    """The library's errors as ours. ``waits`` are the Retry-After values seen so far."""
    try:
        yield
    except messages.Error as error:
        raise refusal(authority, error, waits[-1] if waits else 0) from error
    except errors.ValidationError as error:
        raise _failed_validation(authority, error) from error
    except errors.IssuanceError as error:
        raise refusal(authority, error.error, 0) from error
    except errors.TimeoutError as error:
        message = f"{authority} has not come to a decision in time"
        raise CertificateError(message, kind="slow", hint="it will be tried again") from error
    except (requests.RequestException, errors.Error, ValueError) as error:
        reason = str(error) or type(error).__name__
        message = f"{authority} cannot be asked: {reason[:300]}"
        hint = "is the Internet there, and is the clock right?"
        raise NetworkError(message, hint=hint) from error


def refusal(authority: str, error: messages.Error, wait: int) -> CertificateError:
    kind = error.code or "unknown"
    message = f"{authority} refuses ({kind}): {(error.detail or error.title or '')[:400]}"
    return CertificateError(message, kind=kind, retry_after=wait, hint=HINTS.get(kind))


def challenges_of(item: messages.AuthorizationResource) -> tuple[messages.ChallengeBody, ...]:
    """The library's field is typed as its decoder."""
    return cast("tuple[messages.ChallengeBody, ...]", item.body.challenges)


def _failed_validation(authority: str, error: errors.ValidationError) -> CertificateError:
    """The first challenge that has something to say; the names of all that failed."""
    names = ", ".join(sorted(failed.body.identifier.value for failed in error.failed_authzrs))
    for failed in error.failed_authzrs:
        for challenge in challenges_of(failed):
            if challenge.error is not None:
                found = refusal(authority, challenge.error, 0)
                message = f"{names}: {found.message}"
                return CertificateError(message, kind=found.kind, hint=found.hint)
    return CertificateError(f"{authority} could not verify {names}", kind="unknown")
