"""Notifications by a request to another system: one POST of a JSON object."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

import requests

from hostd.config.notify import Channel as Settings
from hostd.delivery.channels import ChannelError, Message
from hostd.delivery.http import trusting

_FINAL = frozenset({400, 405, 410, 413, 415, 422})
"""What says that this request will never be taken; others, such as 401 or 404, an administrator may put right."""
_CONNECT_S = 10.0


class Webhook:
    """Posts `{"text", "id", "at", "node", "script"}`. Redirections are not followed, proxies of the environment not used."""

    def __init__(self, name: str, settings: Settings, node: str) -> None:
        assert settings.url is not None, "a webhook has a URL"
        self.name = name
        self.phi = settings.phi
        self.give_up_after_s = settings.give_up_after_h * 3600
        self._url = settings.url.get_secret_value()
        self._headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._certificates = settings.ca_file, settings.client_certificate
        self._timeouts = min(_CONNECT_S, settings.timeout_s), settings.timeout_s
        self._node = node

    def send(self, message: Message) -> None:
        """Send it. Raises `ChannelError`, which names the host only: the URL may hold a key."""
        host = urlsplit(self._url).hostname
        body = {
            "text": message.text,
            "id": message.id,
            "at": datetime.fromtimestamp(message.at, UTC).isoformat(timespec="seconds"),
            "node": self._node,
            "script": message.script,
        }
        try:
            with trusting(*self._certificates) as http:
                answer = http.post(
                    self._url,
                    json=body,
                    headers={**self._headers, "Idempotency-Key": message.id},
                    timeout=self._timeouts,
                    allow_redirects=False,
                    stream=True,  # what it says beyond its status is not read
                )
                status = answer.status_code
        except requests.Timeout as error:
            raise ChannelError(f"{host} did not answer in time") from error
        except requests.exceptions.SSLError as error:
            raise ChannelError(
                f"{host} has no certificate that is trusted, or does not take the one that is shown: see ca_file"
            ) from error
        except requests.RequestException as error:
            raise ChannelError(f"{host} could not be reached ({type(error).__name__})") from error
        if not 200 <= status < 300:
            raise ChannelError(f"{host} answered with HTTP status {status}", is_final=status in _FINAL)
