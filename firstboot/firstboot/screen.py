"""What the console shows, as text: a page for a screen, a few plain lines for a serial line."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from appliance.protocol import Status
from appliance.state import Phase

WIDTH = 78
MARGIN = "  "

HEADLINES = {
    Phase.UNCLAIMED: "Your Hearth is waiting to be set up.",
    Phase.SETUP: "Somebody is setting up this Hearth.",
    Phase.APPLYING: "This Hearth is being set up.",
    Phase.FAILED: "Setup has stopped at a failure: the page tells which and goes on.",
    Phase.READY: "This Hearth is at work.",
}


@dataclass(frozen=True, kw_only=True)
class View:
    """``code`` is empty once it has been used, ``code_file`` whether bootfs has it as well."""

    status: Status
    code: str
    code_file: bool = False


def urls(view: View) -> tuple[str, ...]:
    """The unique name, the shared name, then the addresses."""
    hosts = (*view.status.names, *view.status.addresses)
    return tuple(f"http://{f'[{host}]' if ':' in host else host}/" for host in hosts)


def address_url(view: View) -> str:
    """What the QR code says: an address, since not every phone knows names ending in .local."""
    found = [url for url in urls(view) if ".local/" not in url]
    return found[0] if found else ""


def render_screen(view: View, qr: str) -> str:
    """The whole page for HDMI."""
    status = view.status
    kind = " (development image: not for real use)" if status.development else ""
    lines = [f"Hearth {status.version}{kind}", status.board, "", HEADLINES[status.phase], ""]
    lines += _where(view)
    if view.code:
        lines += ["", f"Claim code:   {view.code}"]
        if view.code_file:
            lines += ["              (also in claim-code.txt on the card's boot partition)"]
    if status.authority_fingerprint:
        lines += ["", "The certificate of this Hearth has the SHA-256 fingerprint"]
        lines += textwrap.wrap(status.authority_fingerprint, 16 * 3, break_on_hyphens=False)
    problems = _problems(status)
    text = "\n".join(MARGIN + line if line else "" for line in lines)
    if problems:
        text += "\n\n" + "\n".join(textwrap.fill(f"! {note}", WIDTH) for note in problems)
    return f"{text}\n\n{qr}\n" if qr else f"{text}\n"


def render_serial(view: View) -> str:
    """One block per change; the first line is for programs to find."""
    status = view.status
    name = status.phase.value
    if not urls(view):
        first = f"hearth: {name}, waiting for the network"
    else:
        code = f" claim code {view.code}" if view.code else ""
        first = f"hearth: {_page(status)} at {address_url(view) or urls(view)[0]}{code}"
    lines = [first, f"hearth: version {status.version}, {status.board}, state {name}"]
    lines += [f"hearth: also at {url}" for url in urls(view) if url not in first]
    if status.authority_fingerprint:
        lines.append(f"hearth: certificate SHA-256 {status.authority_fingerprint}")
    lines += [f"hearth: ! {note}" for note in _problems(status)]
    return "".join(f"{line}\r\n" for line in lines)


def _page(status: Status) -> str:
    return "ready" if status.phase is Phase.READY else "wizard"


def _where(view: View) -> list[str]:
    found = urls(view)
    if not found:
        return ["Waiting for the network: is the cable plugged in?"]
    first, *others = found
    return [f"Open in a browser:   {first}", *(f"               or:   {url}" for url in others)]


def _problems(status: Status) -> list[str]:
    notes = list(status.notes)
    if status.data != "ok":
        notes.insert(0, status.data_detail or f"The data partition is {status.data}.")
    if status.rescue:
        notes.insert(0, "Rescue mode: this Hearth did not get ready several times. See the page.")
    return notes
