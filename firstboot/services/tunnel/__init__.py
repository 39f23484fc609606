"""A way in through a rented server with a public address, for lines where no port can be opened.

WireGuard carries to us what strangers send to that server's ports, with their own addresses and
still sealed: TLS ends here, and the server sees who talks to us, never what. We write both halves.
"""
