"""Passwords of users: argon2id hashes, quick repeated checks, and what must not be open without users."""

from __future__ import annotations

import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError

from hostd.config.loopback import is_loopback
from hostd.config.sections import User
from hostd.config.settings import Settings

_MAX_REMEMBERED = 1024
# A check takes 64 MiB for 50 ms: many at one time, by people who guess, must not take all memory.
_at_once = threading.BoundedSemaphore(2)


class _Remembered:
    """Successful checks, each as an HMAC under a key that lives in this process only; no password is kept."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._checks: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def digest(self, password_hash: str, password: str) -> bytes:
        # The hash has a fixed alphabet without NUL, so that no two pairs give one text.
        return hmac.digest(self._key, f"{password_hash}\0{password}".encode("utf-8", "surrogatepass"), "sha256")

    def __contains__(self, digest: bytes) -> bool:
        with self._lock:
            if digest not in self._checks:
                return False
            self._checks.move_to_end(digest)
            return True

    def add(self, digest: bytes) -> None:
        with self._lock:
            self._checks[digest] = None
            if len(self._checks) > _MAX_REMEMBERED:
                self._checks.popitem(last=False)


_remembered = _Remembered()


def check_password(users: Mapping[str, User], username: str, password: str) -> User | None:
    """Return the user when the password is right, None when it is wrong or there is no such user.

    A wrong password and an unknown user take the same work, so that the time of the answer tells nobody which users
    there are. A check that succeeded is remembered (for this hash and password, in this process), so that a request
    with Basic authentication does not take 50 ms each time; a changed hash is checked anew.
    """
    if (known := recall_password(users, username, password)) is not None:
        return known
    user = users.get(username)
    password_hash = user.password_hash.get_secret_value() if user else _nobodys_hash(_model_hash(users))
    with _at_once:
        try:
            PasswordHasher().verify(password_hash, password.encode("utf-8", "surrogatepass"))
        except VerifyMismatchError:
            return None
    if user:
        _remembered.add(_remembered.digest(password_hash, password))
    return user


def recall_password(users: Mapping[str, User], username: str, password: str) -> User | None:
    """Return the user when `check_password` has found this password right before, for the hash as it is now; at once, without a check."""
    user = users.get(username)
    # Of an unknown user too, so that the time of the answer tells nothing.
    is_known = _remembered.digest(user.password_hash.get_secret_value() if user else "", password) in _remembered
    return user if is_known else None


def _model_hash(users: Mapping[str, User]) -> str | None:
    """Return the hash that takes most work, for an unknown user should take as much as a known one."""
    hashes = [user.password_hash.get_secret_value() for user in users.values()]
    return max(hashes, key=_work, default=None)


def _work(password_hash: str) -> int:
    parameters = extract_parameters(password_hash)
    return parameters.memory_cost * parameters.time_cost


@lru_cache(maxsize=8)
def _nobodys_hash(like: str | None) -> str:
    hasher = PasswordHasher.from_parameters(extract_parameters(like)) if like else PasswordHasher()
    return hasher.hash(secrets.token_urlsafe(32))


def http_exposure_problem(settings: Settings) -> str | None:
    """Say why the HTTP face may not listen where it is told to: beyond loopback it needs users. None: it may."""
    http = settings.http
    if not http.enabled or settings.users or is_loopback(http.host):
        return None
    return (
        f"http.host = {http.host!r} lets other machines in, and there are no users: anyone could read and delete. "
        "Run `hostd config hash-password`, and paste what it prints under [users.NAME] with a role, "
        'or set http.host = "127.0.0.1"'
    )
