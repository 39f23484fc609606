"""Talking with other Matrix servers: finding them, their keys, and signing what we ask them."""
