"""Time windows in local time, over midnight, over the week and over changes of the clock."""

import time
from datetime import datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from hostd.config.windows import Windows, parse
from hostd.delivery.windows import opens_in_s


@pytest.fixture(autouse=True)
def _in_berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text):
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("windows", "now", "opens_in"),
    [
        ([], "2026-11-25 12:00", 0),
        (["19:00-06:00"], "2026-11-25 18:59", 60),
        (["19:00-06:00"], "2026-11-25 19:00", 0),
        (["19:00-06:00"], "2026-11-26 05:59", 0),
        (["19:00-06:00"], "2026-11-26 06:00", 13 * 3600),
        (["08:00-12:00", "13:00-17:00"], "2026-11-25 12:30", 1800),
        (["Mon-Fri 19:00-06:00"], "2026-11-28 05:00", 0),  # Saturday morning belongs to Friday's
        (["Mon-Fri 19:00-06:00"], "2026-11-28 07:00", (2 * 24 + 12) * 3600),
        (["Sat,Sun 00:00-24:00"], "2026-11-29 23:59", 0),
        (["Sat,Sun 00:00-24:00"], "2026-11-30 00:00", 5 * 24 * 3600),
        (["Fri-Mon 10:00-11:00"], "2026-12-01 10:30", (3 * 24 - 0.5) * 3600),
        (["00:00-00:00"], "2026-11-25 12:00", 0),
        (["22:00-06:00"], "2026-10-25 04:00", 0),
        (["06:00-07:00"], "2026-10-25 00:00", 7 * 3600),  # one hour more in that night
        (["06:00-07:00"], "2026-03-29 00:00", 5 * 3600),  # and one less in this
    ],
)
def test_a_window_opens_when_it_says(windows, now, opens_in):
    assert opens_in_s([parse(text) for text in windows], at(now)) == opens_in


@pytest.mark.parametrize("text", ["", "19-06", "25:00-26:00", "10:60-11:00", "Xyz 10:00-11:00", "10:00", "Mon- 1:00"])
def test_what_is_no_window_is_refused(text):
    with pytest.raises(ValueError, match=r"time|day"):
        parse(text)


def test_a_setting_takes_one_or_several():
    adapter = TypeAdapter(Windows)
    assert adapter.validate_python("19:00-06:00") == (parse("19:00-06:00"),)
    assert len(adapter.validate_python(["19:00-06:00", "Sat 10:00-12:00"])) == 2
    with pytest.raises(ValidationError):
        adapter.validate_python(5)
