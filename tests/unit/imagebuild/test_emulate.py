"""What ``hearth vm`` reads from the serial console."""

from __future__ import annotations

from imagebuild.emulate import find_address_line

SERIAL = """\
U-Boot 2025.01
hearth: slot A, attempts left A 6 B 0, state 2
hearth: unclaimed, waiting for the network
hearth: wizard at http://10.0.2.15/ claim code AAAA-AAAA
hearth: wizard at http://10.0.2.16/ claim code AAAA-AAAA
hearth: version 0.1.0-dev, state unclaimed
hearth: also at http://hearth-2989.local/
hearth: also at http://[fec0::5054:ff:fe12:3456]/
"""


def test_the_line_with_the_code_is_found_among_further_names() -> None:
    line = find_address_line(SERIAL)
    assert line == "hearth: wizard at http://10.0.2.16/ claim code AAAA-AAAA"


def test_there_is_none_before_the_network() -> None:
    assert find_address_line("hearth: unclaimed, waiting for the network\n") is None
    assert find_address_line("") is None
