"""One order: names in, certificate out (RFC 8555, section 7.4)."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from acme import challenges, messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.errors import CertificateError
from services.acme.account import Connection
from services.acme.challenge import Answerer
from services.acme.errors import challenges_of, translated

ORDER_SECONDS = 300


@dataclass(frozen=True, kw_only=True)
class Issued:
    """``pem`` is certificate, chain and key in one; ``starts`` and ``ends`` since the epoch."""

    names: tuple[str, ...]
    pem: bytes
    starts: float
    ends: float


def order_certificate(
    connection: Connection,
    names: Sequence[str],
    answerer: Answerer,
    *,
    report: Callable[[str], None] = lambda _: None,
) -> Issued:
    """Ask for one certificate for all ``names``; each is proved by ``answerer``.

    Raises CertificateError with the authority's reason, or NetworkError.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    with translated(connection.authority.title, connection.waits):
        order = connection.client.new_order(_request(key, names))
        items = order.authorizations  # typed as the field's decoder, which pyright believes
        open_ones = [
            item
            for item in items  # pyright: ignore[reportGeneralTypeIssues]
            if item.body.status != messages.STATUS_VALID
        ]
        if answerer.one_at_a_time:
            for item in open_ones:
                _prove(connection, order, [item], answerer, report)
        elif open_ones:
            _prove(connection, order, open_ones, answerer, report)
        report("the names are proved; waiting for the certificate")
        done = connection.client.finalize_order(order, _deadline())
    pem = done.fullchain_pem.encode()
    return _check(pem, key, names)


def _prove(
    connection: Connection,
    order: messages.OrderResource,
    items: Sequence[messages.AuthorizationResource],
    answerer: Answerer,
    report: Callable[[str], None],
) -> None:
    """Present all answers, say so, wait for the verdicts, and take the answers away again."""
    with ExitStack() as answers:
        asked = []
        for item in items:
            name = item.body.identifier.value
            body = _find_challenge(item, answerer.kind)
            token = body.chall.encode("token")
            response, validation = body.chall.response_and_validation(connection.key)
            report(f"preparing the proof for {name}")
            answers.callback(answerer.remove, name, token, validation)
            answerer.present(name, token, validation)
            asked.append((body, response))
        for body, response in asked:
            connection.client.answer_challenge(body, response)
        report("the authority is looking at " + ", ".join(i.body.identifier.value for i in items))
        part = order.update(body=order.body.update(authorizations=[item.uri for item in items]))
        connection.client.poll_authorizations(part, _deadline())


def _find_challenge(item: messages.AuthorizationResource, kind: str) -> messages.ChallengeBody:
    for body in challenges_of(item):
        if isinstance(body.chall, challenges.KeyAuthorizationChallenge) and body.typ == kind:
            return body
    name = item.body.identifier.value
    message = f"the authority does not offer {kind} for {name}"
    raise CertificateError(message, kind="unsupported")


def _request(key: ec.EllipticCurvePrivateKey, names: Sequence[str]) -> bytes:
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _check(chain: bytes, key: ec.EllipticCurvePrivateKey, names: Sequence[str]) -> Issued:
    """What came must be ours and for our names, or it must never replace one that works."""
    certificate = x509.load_pem_x509_certificate(chain)
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*spki) != key.public_key().public_bytes(*spki):
        raise CertificateError("the certificate is for another key", kind="mismatch")
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    missing = set(names) - set(found.get_values_for_type(x509.DNSName))
    if missing:
        message = f"the certificate lacks {', '.join(sorted(missing))}"
        raise CertificateError(message, kind="mismatch")
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Issued(
        names=tuple(names),
        pem=chain.rstrip() + b"\n" + private,
        starts=certificate.not_valid_before_utc.timestamp(),
        ends=certificate.not_valid_after_utc.timestamp(),
    )


def _deadline() -> datetime.datetime:
    """In the library's own terms: local time without a zone."""
    return datetime.datetime.now() + datetime.timedelta(seconds=ORDER_SECONDS)
