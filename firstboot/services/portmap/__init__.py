"""Ports of the router that lead to our public listeners: PCP, NAT-PMP and UPnP IGD."""
