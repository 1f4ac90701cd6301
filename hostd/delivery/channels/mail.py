"""Notifications by mail: SMTP (RFC 5321), encrypted by STARTTLS or TLS."""

from __future__ import annotations

import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from hostd.config.notify import Channel as Settings
from hostd.delivery.channels import ChannelError, Message

_MAX_SUBJECT = 100
_MAX_ANSWER = 300
_PERMANENT = 500


class Mail:
    """Sends each notification as one plain text mail. Certificates are always checked."""

    def __init__(self, name: str, settings: Settings, node: str) -> None:
        self.name = name
        self.phi = settings.phi
        self.give_up_after_s = settings.give_up_after_h * 3600
        self._settings = settings
        self._node = node

    def send(self, message: Message) -> None:
        """Send it. Raises `ChannelError`."""
        where = f"{self._settings.host}:{self._settings.smtp_port}"
        try:
            with self._connect() as server:
                refused = server.send_message(self._mail(message))
        except smtplib.SMTPRecipientsRefused as error:
            code, answer = next(iter(error.recipients.values()))
            raise ChannelError(_said(where, code, answer), is_final=code >= _PERMANENT) from error
        except smtplib.SMTPAuthenticationError as error:  # what the server says may quote the credentials
            raise ChannelError(f"{where} does not take the username and password ({error.smtp_code})") from error
        except smtplib.SMTPResponseException as error:
            raise ChannelError(
                _said(where, error.smtp_code, error.smtp_error), is_final=error.smtp_code >= _PERMANENT
            ) from error
        except (smtplib.SMTPException, OSError) as error:  # ssl.SSLError is an OSError
            raise ChannelError(f"{where} could not be reached, or broke off: {error}") from error
        if refused:
            # Sent to the others, so that trying again would tell those twice.
            raise ChannelError(f"{where} refused {', '.join(sorted(refused))}; the others got it", is_final=True)

    def _connect(self) -> smtplib.SMTP:
        settings = self._settings
        assert settings.host is not None, "a channel of mail has a host"
        context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
        server: smtplib.SMTP
        if settings.tls == "tls":
            server = smtplib.SMTP_SSL(settings.host, settings.smtp_port, timeout=settings.timeout_s, context=context)
        else:
            server = smtplib.SMTP(settings.host, settings.smtp_port, timeout=settings.timeout_s)
        try:
            if settings.tls == "starttls":
                server.starttls(context=context)
            if settings.username is not None and settings.password is not None:
                server.login(settings.username, settings.password.get_secret_value())
        except BaseException:
            server.close()
            raise
        return server

    def _mail(self, message: Message) -> EmailMessage:
        first = " ".join(message.text.split("\n", 1)[0].split())
        subject = "".join(c for c in first if c.isprintable())[:_MAX_SUBJECT]
        mail = EmailMessage(policy=SMTP)
        mail["Subject"] = f"[hostd {self._node}] {subject}"
        mail["From"] = self._settings.sender
        mail["To"] = ", ".join(self._settings.to)
        mail["Date"] = format_datetime(datetime.fromtimestamp(message.at, UTC))
        mail["Message-ID"] = f"<{message.id}@{self._node}.hostd.invalid>"  # the same again: a double can be told
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no absence notes in answer
        by = f"\n\nBy the script {message.script}." if message.script else ""
        mail.set_content(f"{message.text}{by}\n\nThis is the hostd node {self._node}.\n")
        return mail


def _said(where: str, code: int, answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return f"{where} answered {code} {' '.join(text.split())[:_MAX_ANSWER]}"
