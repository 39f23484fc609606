"""``hearthctl`` as a person types it, without a process of its own: the start is most of its time.

Where the process itself is tested (signals, sockets, a full disk behind its output) there is one:
firstboot/test_resident.py.
"""

from __future__ import annotations

import io
import logging
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

from firstboot.__main__ import main


def hearthctl(root: Path, *words: str) -> CompletedProcess[str]:
    """Exit code, output and errors."""
    argv = ["hearthctl", "--root", str(root), *words]
    output, errors = io.StringIO(), io.StringIO()
    logs, level = logging.root.handlers[:], logging.root.level
    logging.root.handlers.clear()  # or they would be closed
    try:
        with redirect_stdout(output), redirect_stderr(errors), patch.object(sys, "argv", argv):
            main()
    except SystemExit as end:
        code = end.code
    finally:
        logging.root.handlers[:] = logs
        logging.root.setLevel(level)
    assert isinstance(code, int)
    return CompletedProcess(argv, code, output.getvalue(), errors.getvalue())
