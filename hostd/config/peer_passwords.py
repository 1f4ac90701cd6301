"""Where a peer's password is: in the configuration, in a file of its own, or in an environment variable."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from hostd.config.secret_files import from_file, from_variable
from hostd.config.sections import Peer


def password_of(peer: Peer, environ: Mapping[str, str]) -> SecretStr | None:
    """Return the peer's password, None when it has none.

    One newline at the end of a password file is left out. Raises `ValueError` saying what is wrong with the file or the
    variable, never what is in it.
    """
    if peer.password_file is not None:
        return SecretStr(from_file(peer.password_file, "password"))
    if peer.password_env is not None:
        return SecretStr(from_variable(peer.password_env, environ, "password"))
    return peer.password
