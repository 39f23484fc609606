"""Certificates that every browser trusts, by ACME (RFC 8555).

The protocol is certbot's ``acme`` library, which Debian packages. What it leaves to its user is
here: an account that outlives reboots, answers to challenges, errors that an owner understands,
and the limits of the authority (contract), so that neither a crash nor a reset can use them up.
"""
