"""Pseudonyms: which name a patient has in a project, for ever (PS3.15 §E.1.1). The table is the only way back to the patient."""

from __future__ import annotations

import base64
import hmac

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t
from hostd.archive.archive import Archive

_CHARACTERS = 8
"""Of base 32: 40 bits."""


class IndexPseudonyms:
    """Pseudonyms in the index, so that every node and every later start has the same."""

    def __init__(self, archive: Archive, key: bytes) -> None:
        """`key` is the installation's secret: without it a pseudonym cannot be worked out from a patient ID."""
        self._archive = archive
        self._key = key

    def of(self, project: str, patient_id: str, issuer: str) -> str:
        """Return the patient's pseudonym in that project, eight letters and digits, made when it is first asked for.

        Raises `StorageError` when it cannot be kept.
        """
        with self._archive.read() as connection:
            known = _find(connection, project, patient_id, issuer)
        if known is not None:
            return known
        return self._archive.writer.do(lambda c: self._make(c, project, patient_id, issuer))

    def _make(self, connection: Connection, project: str, patient_id: str, issuer: str) -> str:
        known = _find(connection, project, patient_id, issuer)
        number = 0
        while known is None:
            wanted = _pseudonym(self._key, project, patient_id, issuer, number)
            taken = sa.select(t.pseudonym.c.pseudonym).where(
                t.pseudonym.c.project == project, t.pseudonym.c.pseudonym == wanted
            )
            if connection.execute(taken).first() is None:
                values = {"project": project, "patient_id": patient_id, "issuer": issuer, "pseudonym": wanted}
                connection.execute(sa.insert(t.pseudonym).values(**values, created_at=self._archive.clock.now()))
                known = wanted
            number += 1
        return known


def _find(connection: Connection, project: str, patient_id: str, issuer: str) -> str | None:
    found: str | None = connection.execute(
        sa.select(t.pseudonym.c.pseudonym).where(
            t.pseudonym.c.project == project, t.pseudonym.c.patient_id == patient_id, t.pseudonym.c.issuer == issuer
        )
    ).scalar()
    return found


def _pseudonym(key: bytes, project: str, patient_id: str, issuer: str, number: int) -> str:
    text = "\0".join(("hostd pseudonym", project, patient_id, issuer, str(number)))
    digest = hmac.digest(key, text.encode("utf-8", "surrogateescape"), "sha256")
    return base64.b32encode(digest).decode("ascii")[:_CHARACTERS]
