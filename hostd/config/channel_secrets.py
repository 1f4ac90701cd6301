"""A channel's secrets, read from where the configuration says that they are."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from hostd.config.notify import Channel, check_url
from hostd.config.secret_files import from_file, from_variable


def with_secrets(channel: Channel, environ: Mapping[str, str]) -> Channel:
    """Return the channel with its password, URL and headers in place.

    Raises `ValueError` saying what is wrong with a file or a variable, never what is in it.
    """
    password, url = channel.password, channel.url
    if channel.password_file is not None:
        password = SecretStr(from_file(channel.password_file, "password"))
    elif channel.password_env is not None:
        password = SecretStr(from_variable(channel.password_env, environ, "password"))
    if channel.url_file is not None:
        url = SecretStr(from_file(channel.url_file, "URL"))
    elif channel.url_env is not None:
        url = SecretStr(from_variable(channel.url_env, environ, "URL"))
    if url is not None:
        check_url(url.get_secret_value())
    headers = dict(channel.headers)
    headers |= {name: SecretStr(from_file(path, "header")) for name, path in channel.header_files.items()}
    headers |= {
        name: SecretStr(from_variable(variable, environ, "header")) for name, variable in channel.header_env.items()
    }
    for name, value in headers.items():
        text = value.get_secret_value()
        if not text.isprintable() or not text.isascii():
            raise ValueError(f"the value of the header {name} is not of printable ASCII characters")
    return channel.model_copy(update={"password": password, "url": url, "headers": headers})
