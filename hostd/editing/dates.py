"""Dates moved by whole days (PS3.15 §E.3.6): intervals, weekends aside, and times of day stay as they are."""

from __future__ import annotations

import hmac
import re
from datetime import date, timedelta

_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_DATE_TIME = re.compile(r"(\d{4})(\d{2})?(\d{2})?((?:\d{2}){0,3}(?:\.\d{1,6})?)([+-]\d{4})?")
_LEAST_DAYS, _SPAN_DAYS = 30, 3650


def days_for(key: bytes, patient_id: str, issuer: str) -> int:
    """Return by how many days all dates of a patient move: back, by one month to ten years."""
    digest = hmac.digest(key, f"days\0{patient_id}\0{issuer}".encode("utf-8", "surrogateescape"), "sha256")
    return -(_LEAST_DAYS + int.from_bytes(digest[:8], "big") % _SPAN_DAYS)


def shifted(vr: str, text: str, days: int) -> str | None:
    """Return the values of a DA, DT or TM element moved by so many days; None when one of them is no date."""
    if vr == "TM":
        return text if all(re.fullmatch(r"[0-9:.]*", value.strip()) for value in text.split("\\")) else None
    move = _shifted_date if vr == "DA" else _shifted_date_time
    values = [move(value.strip(), days) if value.strip() else "" for value in text.split("\\")]
    known = [value for value in values if value is not None]
    return "\\".join(known) if len(known) == len(values) else None


def _shifted_date(value: str, days: int) -> str | None:
    found = _DATE.fullmatch(value)
    return _moved(*map(int, found.groups()), days=days) if found else None


def _shifted_date_time(value: str, days: int) -> str | None:
    found = _DATE_TIME.fullmatch(value)
    if found is None:
        return None
    year, month, day, time, zone = found.groups()
    # What is known to the month or year only moves from its middle.
    moved = _moved(int(year), int(month or 7), int(day or 15), days=days)
    if moved is None:
        return None
    precision = 8 if day else 6 if month else 4
    return moved[:precision] + time + (zone or "")


def _moved(year: int, month: int, day: int, *, days: int) -> str | None:
    try:
        moved = date(year, month, day) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return f"{moved.year:04}{moved.month:02}{moved.day:02}"
