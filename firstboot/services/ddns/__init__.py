"""Dynamic DNS: one small file a protocol, one table row a provider, one contract for all."""
