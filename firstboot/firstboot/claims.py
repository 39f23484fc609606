"""The claim code's life: made, shown, compared, and gone after the claim.

Where it is: its scrypt hash in secrets.toml; in plain text, until it is used, on the console (from
/run/hearth/claim-code) and in claim-code.txt on bootfs, both of which only somebody who holds the
box can read. A used code stays valid as a hash until setup is over, for the owner's second browser;
if it was forgotten by then, a reboot (which takes a hand at the box as well) shows a new one.
"""

from __future__ import annotations

from dataclasses import replace

from appliance.atomic import write_atomic
from appliance.errors import StateError
from appliance.log import logger
from appliance.paths import Paths
from appliance.secretfile import change_secrets
from appliance.settings import load_secrets
from firstboot.codes import is_same_code, make_code, normalise_code, show_code
from services.bootfs import CLAIM_CODE_FILE, read_file, remove_file, write_file
from services.passwords import hash_secret, verify_secret

NOTE = """\
{code}

This is the claim code of your Hearth. Open http://hearth.local or the address that your router
shows for it, and type the code there: it proves that you hold the box. Hearth removes this file
once the code has been used.
"""


class ClaimCode:
    """The one valid code; ``plain`` is empty once it has been used, or where setup is over."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self.plain = ""
        self.on_bootfs = False

    @property
    def _runtime(self) -> tuple[str, str]:
        return "claim-code", "claimed"

    def prepare(self, preset: str | None) -> None:
        """At the agent's start, before setup is over: go on with a readable code, or make one."""
        code_file, used_mark = (self._paths.runtime / name for name in self._runtime)
        stored = load_secrets(self._paths.secrets).claim_hash
        if used_mark.exists() and stored:
            return
        shown = code_file.read_text() if code_file.exists() else ""
        on_card = read_file(self._paths, CLAIM_CODE_FILE) or ""
        known = (preset or "", shown, on_card.partition("\n")[0])
        for code in (normalise_code(text) for text in known if text):
            if stored and verify_secret(code, stored):
                self.plain = code
                break
        if not self.plain or (preset and not is_same_code(preset, self.plain)):
            self.plain = normalise_code(preset) if preset else make_code()
            self._store_hash(hash_secret(self.plain))
        write_atomic(code_file, show_code(self.plain) + "\n", mode=0o600)
        if not preset:
            self._write_bootfs()

    def is_valid(self, given: str) -> bool:
        """Compare in constant time; a used code by its hash."""
        if self.plain:
            return is_same_code(given, self.plain)
        stored = load_secrets(self._paths.secrets).claim_hash
        return bool(stored) and verify_secret(normalise_code(given), stored)

    def mark_used(self) -> None:
        """Take the plain code away from everywhere; its hash stays until ``forget``."""
        self.plain = ""
        code_file, used_mark = (self._paths.runtime / name for name in self._runtime)
        write_atomic(used_mark, "")
        code_file.unlink(missing_ok=True)
        try:
            remove_file(self._paths, CLAIM_CODE_FILE)
        except StateError as error:
            logger.warning("the used claim code stays on bootfs: %s", error.message)

    def forget(self) -> None:
        """Setup is over: from now on the owner's password opens the door."""
        if load_secrets(self._paths.secrets).claim_hash:
            self._store_hash("")
        self.mark_used()

    def _store_hash(self, hashed: str) -> None:
        change_secrets(self._paths, lambda known: replace(known, claim_hash=hashed))

    def _write_bootfs(self) -> None:
        try:
            write_file(self._paths, CLAIM_CODE_FILE, NOTE.format(code=show_code(self.plain)))
            self.on_bootfs = True
        except StateError as error:
            logger.warning("the claim code is only on the console: %s", error.message)
