"""Every error a person may see: what failed, what to do next, and the exit code.

    HearthError              1   anything else
      UsageError             2   the command line asks for something impossible
      ConfigError            3   a recipe, settings or preseed file is wrong
      MissingToolError       4   a program or kernel feature is not there
      PrivilegeError         5   root (or another user) is needed
      NetworkError           6   a mirror, provider or peer does not answer
      HashMismatchError      7   a download is not what the lock file promises
      DiskFullError          8   no space left
      CommandError           9   a program that we ran failed
      DeadlineError         10   a condition did not come true in time
      StateError            11   not possible now (wrong phase, data missing, already done)
      CheckerError          12   a rendered configuration fails its own program's checker
      AccessError           13   claim code, password or session is not valid
      ConflictError         14   somebody else changed the same thing first
      FieldError            15   one form field is not acceptable; carries the field's name
      ImageError            16   an image or a partition does not look as it must
      CertificateError      17   a certificate authority refuses; carries its reason's kind
      SignatureError        18   a signature is missing, a stranger's, or of a revoked key
      DiskError             19   a disk is not one that may be erased (in use, too small, fixed)
      DiskGoneError         20   a disk was pulled out while it was written
      DiskFaultError        21   a disk does not take or keep what is written

Only a ``__main__`` prints and exits; everything else raises.
"""

from __future__ import annotations


class HearthError(Exception):
    """Base of all expected failures. ``hint`` says in the imperative what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def message(self) -> str:
        return str(self.args[0])


class UsageError(HearthError):
    exit_code = 2


class ConfigError(HearthError):
    exit_code = 3


class MissingToolError(HearthError):
    exit_code = 4


class PrivilegeError(HearthError):
    exit_code = 5


class NetworkError(HearthError):
    exit_code = 6


class HashMismatchError(HearthError):
    exit_code = 7


class DiskFullError(HearthError):
    exit_code = 8


class CommandError(HearthError):
    exit_code = 9


class DeadlineError(HearthError):
    exit_code = 10


class StateError(HearthError):
    exit_code = 11


class CheckerError(HearthError):
    exit_code = 12


class AccessError(HearthError):
    exit_code = 13


class ConflictError(HearthError):
    exit_code = 14


class FieldError(HearthError):
    exit_code = 15

    def __init__(self, field: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.field = field


class ImageError(HearthError):
    exit_code = 16


class CertificateError(HearthError):
    """``kind`` is RFC 8555's (section 6.7) or our own; ``retry_after`` in seconds, 0 if unsaid."""

    exit_code = 17

    def __init__(
        self, message: str, *, kind: str = "unknown", retry_after: int = 0, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.retry_after = retry_after


class SignatureError(HearthError):
    exit_code = 18


class DiskError(HearthError):
    exit_code = 19


class DiskGoneError(HearthError):
    exit_code = 20


class DiskFaultError(HearthError):
    exit_code = 21


def error_classes() -> tuple[type[HearthError], ...]:
    """All classes of the tree, base first; used by tests and by the agent's reply decoder."""
    found: list[type[HearthError]] = [HearthError]
    for known in found:
        found.extend(known.__subclasses__())
    return tuple(found)
