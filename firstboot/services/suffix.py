"""Where registered domains begin: the public suffix list, as Debian's ``publicsuffix`` has it.

Let's Encrypt counts certificates by registered domain. A name under a domain that is not on the
list, but that strangers share, therefore shares their limits. The rules are those of
publicsuffix.org/list; the list changes with the package, which a parser of ours need not.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import MissingToolError

LIST = Path("/usr/share/publicsuffix/public_suffix_list.dat")


@dataclass(frozen=True)
class Suffixes:
    """The list's rules; each a name, perhaps with ``*.`` or ``!`` before it."""

    rules: frozenset[str]

    def public_suffix(self, name: str) -> str:
        """The longest suffix that a rule names; of an unknown top-level domain, that label."""
        labels = name.lower().rstrip(".").split(".")
        for start in range(len(labels)):
            candidate = ".".join(labels[start:])
            parent = ".".join(labels[start + 1 :])
            if f"!{candidate}" in self.rules:
                return parent
            if candidate in self.rules or f"*.{parent}" in self.rules:
                return candidate
        return labels[-1]

    def registered_domain(self, name: str) -> str | None:
        """The suffix and one label more; None for a name that is a public suffix itself."""
        name = name.lower().rstrip(".")
        suffix = self.public_suffix(name)
        if name == suffix:
            return None
        return f"{name.removesuffix(f'.{suffix}').rpartition('.')[2]}.{suffix}"

    def is_public(self, suffix: str) -> bool:
        return self.public_suffix(suffix) == suffix


@functools.cache
def load_suffixes(path: Path = LIST) -> Suffixes:
    """Raises MissingToolError when the list is not installed."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        message = f"the public suffix list is missing: {path}"
        raise MissingToolError(message, hint="install Debian's package publicsuffix") from error
    rules = (line.split()[0] for line in lines if line.strip() and not line.startswith("//"))
    return Suffixes(frozenset(_ascii(rule) for rule in rules))


def _ascii(rule: str) -> str:
    """Names arrive in ASCII (RFC 5890 A-labels), rules in Unicode."""
    if rule.isascii():
        return rule
    mark = "!" if rule.startswith("!") else ""
    labels = rule.removeprefix("!").split(".")
    return mark + ".".join(
        label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in labels
    )
