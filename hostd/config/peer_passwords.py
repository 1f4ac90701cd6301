"""Where a peer's password is: in the configuration, in a file of its own, or in an environment variable."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from hostd.config.sections import Peer

_MAX_BYTES = 65536


def password_of(peer: Peer, environ: Mapping[str, str]) -> SecretStr | None:
    """Return the peer's password, None when it has none.

    One newline at the end of a password file is left out. Raises `ValueError` saying what is wrong with the file or the
    variable, never what is in it.
    """
    if peer.password_file is not None:
        try:
            with peer.password_file.open("rb") as file:
                content = file.read(_MAX_BYTES + 1)
        except FileNotFoundError:
            raise ValueError(f"there is no file {peer.password_file}: write the password into it") from None
        except OSError as error:
            raise ValueError(f"{peer.password_file} cannot be read: {error.strerror}") from None
        if len(content) > _MAX_BYTES:
            raise ValueError(f"{peer.password_file} is too large for a password")
        try:
            password = content.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise ValueError(f"{peer.password_file} is not UTF-8 text") from None
        if not password:
            raise ValueError(f"{peer.password_file} is empty: write the password into it")
        return SecretStr(password)
    if peer.password_env is not None:
        if not environ.get(peer.password_env):
            raise ValueError(f"the environment variable {peer.password_env} is not set: put the password into it")
        return SecretStr(environ[peer.password_env])
    return peer.password
