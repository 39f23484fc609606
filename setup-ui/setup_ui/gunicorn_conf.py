"""gunicorn for the wizard: one process with a few threads behind nginx on a Unix socket.

    gunicorn --config python:setup_ui.gunicorn_conf 'setup_ui:create_app()'

With systemd socket activation (LISTEN_FDS) gunicorn takes that socket instead of ``bind``.
"""

from __future__ import annotations

import os

bind = os.environ.get("HEARTH_UI_BIND", "unix:/run/hearth-ui/ui.sock")
umask = 0o117  # the socket: owner and group (nginx) only
workers = 1
worker_class = "gthread"
threads = 4
# Threads wait for the agent (a password hash under emulation takes long); the worker's heartbeat
# goes on meanwhile, so this is about a hung process only.
timeout = 120
graceful_timeout = 5
keepalive = 15
worker_tmp_dir = "/dev/shm"  # the heartbeat file must not be on the card
# Measured with Debian 13's Python 3.13 (PSS of both processes): 42.6 MB, and 42.3 with preloading,
# since reference counts unshare the pages. Without it 15 MB of that sleep in the arbiter for good.
preload_app = False
accesslog = None
errorlog = "-"
loglevel = "warning"
limit_request_line = 2048
limit_request_fields = 60
limit_request_field_size = 4096
# Only nginx reaches the socket; it sets X-Forwarded-Proto.
forwarded_allow_ips = "*"
