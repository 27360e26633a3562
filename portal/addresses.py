"""Which network addresses the portal calls: public ones, those that an operator listed, and never some."""

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What `is_global` of some Python versions lets pass, or what is public by number and private by meaning.
NOT_PUBLIC = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "100.64.0.0/10", "168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15",
        "240.0.0.0/4", "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16",
        "fec0::/10",
    )
]  # fmt: skip
# Refused even when a wide allow-list holds them: "this host", metadata services, many receivers at once.
NEVER = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32", "224.0.0.0/4", "255.255.255.255/32",
        "::/128", "fe80::/10", "fd00:ec2::254/128", "ff00::/8",
    )
]  # fmt: skip
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def never_called(address: Address) -> bool:
    """Whether the portal refuses `address`, or one that it wraps, whatever is allowed."""
    return any(_inside(form, network) for form in _forms(address) for network in NEVER)


def in_networks(address: Address, allowed: Sequence[str]) -> bool:
    """Whether `address` lies in one of the networks of `allowed`; host names among them are passed over."""
    mapped = getattr(address, "ipv4_mapped", None)
    for entry in allowed:
        try:
            network = ipaddress.ip_network(entry)
        except ValueError:
            continue  # a host name
        if _inside(mapped or address, network):
            return True
    return False


def _inside(address: Address, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return address.version == network.version and address in network


def _forms(address: Address) -> list[Address]:
    """`address` and the IPv4 addresses that it wraps: mapped, 6to4, Teredo, NAT64."""
    forms: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        forms += [form for form in inner if form is not None]
        if address in NAT64:
            forms.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return forms


def is_public(address: Address) -> bool:
    """Whether anyone on the Internet could mean the same host by `address`, wrapped addresses included."""
    forms = _forms(address)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        forms = [address.ipv4_mapped]  # the wrapping itself is never global
    return all(
        form.is_global and not form.is_multicast and not any(_inside(form, network) for network in NOT_PUBLIC)
        for form in forms
    )
