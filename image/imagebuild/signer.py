"""Signing with a release key: an index as CMS signed-data, verified before anybody gets it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ConfigError, SignatureError
from appliance.run import Argument, run
from appliance.signed import Signed, verify

TOKEN = "pkcs11:"  # RFC 7512
SIGN_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Signer:
    """``key`` is a PEM file, or the PKCS#11 URI of a key in a hardware token.

    For a token openssl(1) needs its provider, Debian's package pkcs11-provider.
    """

    certificate: Path
    key: str
    keyring: Path

    def sign(self, content: bytes) -> tuple[bytes, Signed]:
        """The message, and what an appliance with ``keyring`` makes of it.

        Raises ConfigError when certificate and key cannot sign, SignatureError when an appliance
        would refuse it.
        """
        with tempfile.TemporaryDirectory(prefix="hearth-sign-") as name:
            source, target = Path(name) / "content", Path(name) / "message"
            source.write_bytes(content)
            argv: list[Argument] = [
                "openssl", "cms", "-sign", "-binary", "-nodetach", "-nosmimecap", "-md", "sha256",
                "-in", source, "-outform", "DER", "-out", target,
                "-signer", self.certificate, "-inkey", self.key, *self._provider(),
            ]  # fmt: skip
            result = run(argv, check=False, timeout=SIGN_SECONDS)
            if result.returncode != 0:
                message = f"{self.certificate} and {self.key} cannot sign: {_reason(result.stderr)}"
                raise ConfigError(message, hint="give --cert and --key of one release key")
            signed_message = target.read_bytes()
        try:
            return signed_message, verify(signed_message, self.keyring)
        except SignatureError as error:
            message = f"no appliance would believe {self.certificate}: {error.message}"
            raise SignatureError(
                message, hint="is --keyring that of the images, with the newest list?"
            ) from error

    def _provider(self) -> list[str]:
        is_token = self.key.startswith(TOKEN)
        return ["-provider", "pkcs11", "-provider", "default"] if is_token else []


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[0] if lines else "openssl gave no reason"
