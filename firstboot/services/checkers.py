"""Running a program's own checker over a configuration that was not put in place yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from appliance.errors import CheckerError
from appliance.run import Argument, run

# Importing Synapse's configuration takes two seconds natively and minutes under emulation.
CHECK_SECONDS = 900
KEPT_LINES = 4


def run_checker(
    program: str,
    argv: Sequence[Argument],
    *,
    env: Mapping[str, str] | None = None,
    accepted: str | None = None,
) -> None:
    """Raise CheckerError with the program's own words unless it ends well.

    ``accepted`` is for programs without a check mode: output that proves acceptance.
    """
    result = run(argv, env=env, check=False, timeout=CHECK_SECONDS)
    output = f"{result.stdout}\n{result.stderr}"
    passed = result.returncode == 0 if accepted is None else accepted in output
    if not passed:
        message = f"{program} does not accept its new configuration: {complaint(output)}"
        hint = "nothing was changed; this is a fault of Hearth's templates: please report it"
        raise CheckerError(message, hint=hint)


def complaint(output: str) -> str:
    """The lines that say what is wrong, without the chatter around them."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [
        line
        for line in lines
        if any(word in line.lower() for word in ("error", "emerg", "fatal", "invalid", "line"))
    ]
    return "; ".join((telling or lines)[-KEPT_LINES:]) or "it gave no reason"
