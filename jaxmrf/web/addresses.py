"""Which addresses are this machine's own; apart, since it needs no library of the page."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host name or address is that of this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
