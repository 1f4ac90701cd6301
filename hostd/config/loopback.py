"""Whether an address is this machine's own."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address


@lru_cache(maxsize=1024)  # asked at each request
def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach what listens there; a name other than `localhost` is taken for open."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
