"""The argon2id hashes of users' passwords."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable

from argon2 import PasswordHasher

Hashed = Callable[[str, str], str]
"""Gives the hash of a user's password."""

_KEY = secrets.token_bytes(32)
_hashes: dict[bytes, str] = {}


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password, with a fresh salt, for `users.NAME.password_hash`."""
    return PasswordHasher().hash(password)


def hash_once(user: str, password: str) -> str:
    """Return the hash of a user's password, the same each time in this process, so that reading it again changes nothing.

    No password is kept: what is remembered is an HMAC under a key that lives in this process only.
    """
    digest = hmac.digest(_KEY, f"{user}\0{password}".encode("utf-8", "surrogatepass"), "sha256")
    if digest not in _hashes:
        _hashes[digest] = hash_password(password)
    return _hashes[digest]


def unhashed(_user: str, _password: str) -> str:
    """Return a hash that is of no password, for who lets nobody sign in: to hash those of many users takes seconds."""
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(secrets.token_urlsafe(32))
