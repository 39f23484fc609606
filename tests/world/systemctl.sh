#!/bin/sh
# Stands in for systemctl and journalctl inside the sandbox; see systemctl.py.
exec env SYSTEMCTL_AS="${0##*/}" /usr/bin/python3 /scratch/systemctl.py "$@"
