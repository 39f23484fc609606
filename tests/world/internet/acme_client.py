"""A certificate by HTTP-01, in the fewest steps that the `acme` library allows.

Runs in a machine of the home as ``python3 -m world.internet.acme_client DIRECTORY NAME`` and prints
the certificate. It proves the box, not the appliance, whose own client is services.acme.
"""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import josepy
from acme import challenges, client, messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

PORT = 80


def serve(answers: dict[str, str]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path in answers
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(answers.get(self.path, "").encode())

    server = ThreadingHTTPServer(("", PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def request(name: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    signed = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return signed.public_bytes(serialization.Encoding.PEM)


def main(directory: str, name: str) -> None:
    key = josepy.JWKRSA(key=rsa.generate_private_key(65537, 2048))
    network = client.ClientNetwork(key, user_agent="box")
    acme = client.ClientV2(client.ClientV2.get_directory(directory, network), network)
    acme.new_account(messages.NewRegistration.from_data(terms_of_service_agreed=True))
    order = acme.new_order(request(name))
    answers: dict[str, str] = {}
    server = serve(answers)
    for authorization in order.authorizations:
        for challenge in authorization.body.challenges:
            if isinstance(challenge.chall, challenges.HTTP01):
                answers[challenge.chall.path] = challenge.chall.validation(key)
                acme.answer_challenge(challenge, challenge.response(key))
    print(acme.poll_and_finalize(order).fullchain_pem)
    server.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
