"""Facades of the modules that compute with numbers and times."""

from __future__ import annotations

import calendar
import datetime as dt
import decimal
import fractions
import io
import math
import os
import random
import statistics
import time
import zoneinfo
from collections.abc import Mapping
from typing import Any

from hostd.sandbox.facades.facade import Facade, offer

_ITS_OWN = "imported by the module for its own use"
_SHARED = "changes what the whole process shares"

# -- fractions, calendar: without classes whose metaclass, or whose enumeration, leads on --------------------------------


def _fraction(numerator: Any = 0, denominator: Any = None) -> fractions.Fraction:
    return fractions.Fraction(numerator, denominator)


def _month_calendar(year: int, month: int) -> list[list[int]]:
    return calendar.monthcalendar(year, month)


def _month_range(year: int, month: int) -> tuple[int, int]:
    first, days = calendar.monthrange(year, month)
    return int(first), days


def _weekday(year: int, month: int, day: int) -> int:
    return int(calendar.weekday(year, month, day))


_DAYS = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]
_MONTHS = [
    "JANUARY",
    "FEBRUARY",
    "MARCH",
    "APRIL",
    "MAY",
    "JUNE",
    "JULY",
    "AUGUST",
    "SEPTEMBER",
    "OCTOBER",
    "NOVEMBER",
    "DECEMBER",
]

# -- zoneinfo: nothing can be opened in the jail, so the host hands over the zones that a script names -------------------

_ZONES: dict[str, bytes] = {}


def give_zones(zones: Mapping[str, bytes]) -> None:
    """Set which time zones scripts can have: name → the content of its TZif file."""
    _ZONES.clear()
    _ZONES.update(zones)


class Zone(dt.tzinfo):
    """A time zone of the IANA database."""

    __slots__ = ("_zone",)
    _zone: zoneinfo.ZoneInfo

    def __init__(self, key: str) -> None:
        if not isinstance(key, str) or key not in _ZONES:
            raise zoneinfo.ZoneInfoNotFoundError(
                f"there is no time zone {str(key)[:64]!r} here: its name must be known and stand in quotes in the script "
                "or in its configuration, so that hostd can hand it over before the jail closes"
            )
        object.__setattr__(self, "_zone", zoneinfo.ZoneInfo.from_file(io.BytesIO(_ZONES[key]), key=str.__str__(key)))

    @property
    def key(self) -> str:
        """Its name: "Europe/Berlin"."""
        return str(self._zone.key)

    def utcoffset(self, moment: dt.datetime | None) -> dt.timedelta | None:
        """Return the offset from UTC at that local time."""
        return self._zone.utcoffset(moment)

    def dst(self, moment: dt.datetime | None) -> dt.timedelta | None:
        """Return by how much clocks are set forward then."""
        return self._zone.dst(moment)

    def tzname(self, moment: dt.datetime | None) -> str | None:
        """Return its abbreviation then."""
        return self._zone.tzname(moment)

    def fromutc(self, moment: dt.datetime) -> dt.datetime:
        """Return that moment, given in UTC, in this zone."""
        if type(moment) is not dt.datetime:  # a method of another's would be given the zone that is behind this one
            raise TypeError("fromutc() takes a datetime")
        return self._zone.fromutc(moment.replace(tzinfo=self._zone)).replace(tzinfo=self)

    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError("a time zone is read-only for scripts")

    def __delattr__(self, name: str) -> None:
        raise TypeError("a time zone is read-only for scripts")

    def __str__(self) -> str:
        return self.key

    def __repr__(self) -> str:
        return f"zoneinfo.ZoneInfo(key={self.key!r})"


_RANDOM = random.Random()  # noqa: S311 - for sampling and jitter; a script keeps no secrets
os.register_at_fork(after_in_child=_RANDOM.seed)

MODULES: dict[str, Facade] = {
    "calendar": offer(
        "calendar", calendar, "isleap leapdays timegm IllegalMonthError",
        own={
            "monthrange": _month_range, "monthcalendar": _month_calendar, "weekday": _weekday,
            "day_name": tuple(calendar.day_name), "day_abbr": tuple(calendar.day_abbr),
            "month_name": tuple(calendar.month_name), "month_abbr": tuple(calendar.month_abbr),
            **{name: number for number, name in enumerate(_DAYS)},
            **{name: number for number, name in enumerate(_MONTHS, 1)},
        },
        withheld={
            "prints calendars for people": "Calendar HTMLCalendar LocaleHTMLCalendar LocaleTextCalendar TextCalendar c calendar "
            "different_locale format formatstring main month prcal prmonth prweek week weekheader",
            _SHARED: "firstweekday setfirstweekday IllegalWeekdayError",
            "an enumeration, whose members lead to their class": "Day Month February January",
            _ITS_OWN: "EPOCH IntEnum error global_enum mdays repeat",
        },
    ),
    "datetime": offer(
        "datetime", dt, "MAXYEAR MINYEAR UTC date datetime time timedelta timezone",
        withheld={"for compiled extensions": "datetime_CAPI", "a base class; use timezone or zoneinfo": "tzinfo"},
    ),
    "decimal": offer(
        "decimal", decimal,
        "Clamped Decimal DecimalException DivisionByZero FloatOperation Inexact InvalidOperation Overflow ROUND_05UP ROUND_CEILING ROUND_DOWN "
        "ROUND_FLOOR ROUND_HALF_DOWN ROUND_HALF_EVEN ROUND_HALF_UP ROUND_UP Rounded Subnormal Underflow",
        withheld={
            _SHARED: "BasicContext Context DefaultContext ExtendedContext getcontext localcontext setcontext",
            "of no use without contexts": "ConversionSyntax DecimalTuple DivisionImpossible DivisionUndefined HAVE_CONTEXTVAR HAVE_THREADS "
            "InvalidContext MAX_EMAX MAX_PREC MIN_EMIN MIN_ETINY",
        },
    ),
    "fractions": offer("fractions", fractions, "", own={"Fraction": _fraction}, withheld={_ITS_OWN: "Decimal"}),
    "math": offer(
        "math", math,
        "acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e erf erfc exp exp2 expm1 fabs factorial floor "
        "fma@3.13 fmod frexp fsum gamma gcd hypot inf isclose isfinite isinf isnan isqrt lcm ldexp lgamma log log10 log1p log2 modf nan "
        "nextafter perm pi pow prod radians remainder sin sinh sqrt sumprod@3.12 tan tanh tau trunc ulp",
        withheld={},
    ),
    "random": offer(
        "random", _RANDOM,
        "betavariate binomialvariate@3.12 choice choices expovariate gammavariate gauss getrandbits lognormvariate normalvariate paretovariate "
        "randbytes randint random randrange sample shuffle triangular uniform vonmisesvariate weibullvariate",
        withheld={
            "a run cannot be repeated by it, since a worker lives on over many events; draw from a hash of the UID instead": "getstate seed setstate",
            "its objects reach the operating system, or their class": "Random SystemRandom",
            _ITS_OWN: "BPF LOG4 NV_MAGICCONST RECIP_BPF SG_MAGICCONST TWOPI main",
        },
    ),
    "statistics": offer(
        "statistics", statistics,
        "NormalDist StatisticsError correlation covariance fmean geometric_mean harmonic_mean linear_regression mean median median_grouped "
        "median_high median_low mode multimode pstdev pvariance quantiles stdev variance",
        withheld={
            "gives functions that were made by text": "kde kde_random",
            _ITS_OWN: "Counter Decimal Fraction LinearRegression acos asin atan bisect_left bisect_right cos cosh count defaultdict erf exp fabs "
            "fsum groupby hypot isfinite isinf itemgetter log mul namedtuple pi reduce repeat sin sqrt sumprod tan tau",
        },
    ),
    "time": offer(
        "time", time,
        "altzone asctime ctime daylight gmtime localtime mktime monotonic monotonic_ns perf_counter perf_counter_ns process_time "
        "process_time_ns strftime strptime struct_time time time_ns timezone tzname",
        withheld={
            "a run waits for nothing; an action takes not_before=": "sleep",
            _SHARED: "clock_settime clock_settime_ns tzset",
            "of the operating system": "CLOCK_BOOTTIME CLOCK_HIGHRES CLOCK_MONOTONIC CLOCK_MONOTONIC_RAW CLOCK_MONOTONIC_RAW_APPROX CLOCK_PROCESS_CPUTIME_ID "
            "CLOCK_PROF CLOCK_REALTIME CLOCK_TAI CLOCK_THREAD_CPUTIME_ID CLOCK_UPTIME CLOCK_UPTIME_RAW CLOCK_UPTIME_RAW_APPROX clock_getres "
            "clock_gettime clock_gettime_ns get_clock_info pthread_getcpuclockid thread_time thread_time_ns",
        },
    ),
    "zoneinfo": offer(
        "zoneinfo", zoneinfo, "ZoneInfoNotFoundError", own={"ZoneInfo": Zone},
        withheld={"of the files that the zones are in, which no script reaches": "InvalidTZPathWarning TZPATH available_timezones reset_tzpath"},
    ),
}  # fmt: skip
