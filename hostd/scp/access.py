"""Who may ask for what: the modalities of the configuration by AE title and address, and what everybody may."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import structlog

Act = Literal["echo", "store", "find", "move", "get", "commit"]
"""What a peer may do, or not: C-ECHO, C-STORE, C-FIND, C-MOVE, C-GET, and ask for storage commitment."""

_LOG = structlog.get_logger(__name__)
_REMEMBERED_S = 60.0
_FAILURE_REMEMBERED_S = 10.0


@dataclass(frozen=True, slots=True)
class Known:
    """A modality of the configuration, its AE title and host, and what it may ask for."""

    name: str
    aet: str
    host: str
    may: frozenset[Act]


@dataclass(frozen=True, slots=True)
class Rules:
    """The modalities, and what those may who are none. `checks_host`, `is_strict`: see `[dicom]`."""

    modalities: tuple[Known, ...] = ()
    everybody: frozenset[Act] = frozenset(("echo", "store"))
    checks_host: bool = True
    is_strict: bool = True


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the name of the modality that it is, None for one that is not known, and what it may ask for."""

    aet: str
    ip: str
    modality: str | None
    may: frozenset[Act]

    def refusal(self, act: Act) -> str | None:
        """Say why it may not do something, None when it may."""
        if act in self.may:
            return None
        if self.modality is None:
            return f"{self.aet} at {self.ip} is no configured modality"
        return f"modality {self.modality} may not {act}"


class Callers:
    """The rules of now: what changes counts for what is asked after it."""

    def __init__(self, rules: Rules | None = None, *, addresses: Callable[[str], Iterable[str]] | None = None) -> None:
        self._rules = rules or Rules()
        self._addresses = _Addresses(addresses or _resolved)

    def use(self, rules: Rules) -> None:
        """Go by other rules from now on."""
        self._rules = rules

    def is_called(self, called_aet: str, aets: Iterable[str]) -> bool:
        """Tell whether a called AE title is one of these."""
        return any(self._same(called_aet, aet, self._rules) for aet in aets)

    def caller(self, calling_aet: str, ip: str) -> Caller:
        """Return who calls under an AE title from an address. Looking up the name of a modality's host may take a while."""
        rules = self._rules
        for known in rules.modalities:
            if self._same(calling_aet, known.aet, rules) and (not rules.checks_host or self._is_at(ip, known.host)):
                return Caller(calling_aet, ip, known.name, known.may)
        return Caller(calling_aet, ip, None, rules.everybody - {"commit"})

    def modalities_of(self, aet: str) -> list[str]:
        """Return the names of the modalities of that AE title."""
        rules = self._rules
        return [known.name for known in rules.modalities if self._same(aet, known.aet, rules)]

    @staticmethod
    def _same(one: str, other: str, rules: Rules) -> bool:
        return one == other or (not rules.is_strict and one.casefold() == other.casefold())

    def _is_at(self, ip: str, host: str) -> bool:
        address = _address(ip)
        return address is not None and address in self._addresses.of(host)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(text: str) -> _Address | None:
    """Return an address in the one form that it is compared in: IPv4 where it is mapped into IPv6, and one for this machine."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return ipaddress.ip_address("127.0.0.1") if address.is_loopback else address


def _resolved(host: str) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


class _Addresses:
    """The addresses of hosts, looked up by name at most once a minute."""

    def __init__(self, resolve: Callable[[str], Iterable[str]]) -> None:
        self._resolve = resolve
        self._lock = threading.Lock()
        self._found: dict[str, tuple[float, frozenset[_Address]]] = {}

    def of(self, host: str) -> frozenset[_Address]:
        plain = _address(host)
        if plain is not None:
            return frozenset((plain,))
        now = time.monotonic()
        with self._lock:
            until, found = self._found.get(host, (0.0, frozenset()))
        if now < until:
            return found
        try:
            found = frozenset(filter(None, map(_address, self._resolve(host))))
            until = now + _REMEMBERED_S
        except (OSError, UnicodeError) as error:
            _LOG.warning(
                "the address of a modality is not known, so nobody is taken for it", host=host, reason=str(error)
            )
            found, until = frozenset(), now + _FAILURE_REMEMBERED_S
        with self._lock:
            self._found[host] = until, found
        return found
