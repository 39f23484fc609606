"""Our account with a certificate authority: a key made once, and the address it was given."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acme import client, messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from appliance.atomic import write_atomic
from appliance.paths import Paths
from services.acme.errors import translated
from services.owners import ensure_directory

if TYPE_CHECKING:
    import requests

USER_AGENT = "Hearth"
REQUEST_SECONDS = 45
# Each is two: the library itself tries a second time.
NONCE_TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Authority:
    """An ACME server. ``name`` is the directory of our account with it under /data."""

    name: str
    title: str
    directory: str


# https://letsencrypt.org/docs/staging-environment/
LETS_ENCRYPT = Authority(
    name="letsencrypt",
    title="Let's Encrypt",
    directory="https://acme-v02.api.letsencrypt.org/directory",
)
LETS_ENCRYPT_STAGING = Authority(
    name="letsencrypt-staging",
    title="Let's Encrypt's rehearsal server",
    directory="https://acme-staging-v02.api.letsencrypt.org/directory",
)


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A client that is signed in. ``retry_after`` is what the server said last, in seconds."""

    authority: Authority
    client: client.ClientV2
    key: JWKEC
    waits: list[int]

    @property
    def retry_after(self) -> int:
        return self.waits[-1] if self.waits else 0


class Network(client.ClientNetwork):
    """Tries on where a server knows its own nonces no more (RFC 8555, 6.5).

    Several machines behind one name, or one that has restarted, say so a few times in a row; the
    library gives up at the second time, and a whole order would begin anew.
    """

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        for _ in range(NONCE_TRIES - 1):
            try:
                return super().post(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*args, **kwargs)


def connect(paths: Paths, authority: Authority) -> Connection:
    """Sign in, with a new account the first time; that agrees to the authority's terms.

    Raises CertificateError or NetworkError.
    """
    place = account_directory(paths, authority)
    ensure_directory(paths, place.parent, mode=0o700)
    ensure_directory(paths, place, mode=0o700)
    key = JWKEC(key=_load_key(place / "account.pem"))
    network = Network(key, alg=ES256, user_agent=USER_AGENT, timeout=REQUEST_SECONDS)
    waits: list[int] = []
    network.session.hooks["response"].append(lambda answer, **_: _note_wait(answer, waits))
    with translated(authority.title, waits):
        directory = client.ClientV2.get_directory(authority.directory, network)
        connection = Connection(
            authority=authority, client=client.ClientV2(directory, network), key=key, waits=waits
        )
        _sign_in(connection, place / "account.json")
    return connection


def account_directory(paths: Paths, authority: Authority) -> Path:
    return paths.certificates / "acme" / authority.name


def _load_key(file: Path) -> ec.EllipticCurvePrivateKey:
    if not file.exists():
        new = ec.generate_private_key(ec.SECP256R1())
        pem = new.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_atomic(file, pem, mode=0o600)
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _sign_in(connection: Connection, file: Path) -> None:
    """A server that knows the key answers with the account it has (RFC 8555, 7.3.1)."""
    acme = connection.client
    if file.exists():
        resource = messages.RegistrationResource.from_json(json.loads(file.read_text()))
        acme.net.account = resource
        return
    from acme.errors import ConflictError

    try:
        resource = acme.new_account(
            messages.NewRegistration.from_data(terms_of_service_agreed=True)
        )
    except ConflictError as error:
        resource = messages.RegistrationResource(uri=error.location, body=messages.Registration())
        resource = acme.query_registration(resource)
    write_atomic(file, json.dumps(resource.to_json(), indent=1) + "\n", mode=0o600)


def _note_wait(answer: requests.Response, waits: list[int]) -> None:
    """The library's errors do not carry the header that says how long to wait (RFC 8555, 6.6)."""
    text = answer.headers.get("Retry-After", "")
    if text.isdecimal():
        waits.append(int(text))
