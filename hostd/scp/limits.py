"""Limits of the DICOM face."""

from __future__ import annotations

from dataclasses import dataclass

from hostd.dimse.association import MAX_PDU


@dataclass(frozen=True, slots=True)
class Limits:
    """How many, how long, how large."""

    associations: int = 64
    """Simultaneous associations; one more is rejected as transient, local limit exceeded."""
    artim_s: float = 30
    """Seconds from the connection until the A-ASSOCIATE-RQ has come completely (PS3.8 §9.1.5)."""
    idle_s: float = 300
    """Seconds that a peer may be silent between two messages."""
    network_s: float = 60
    """Seconds that a peer may be silent in the middle of a message, or not take an answer."""
    linger_s: float = 5
    """Seconds that the peer has for closing the connection after the association ended."""
    max_pdu: int = MAX_PDU
    """Bytes. The Maximum Length Received that is announced (PS3.8 §D.1)."""
