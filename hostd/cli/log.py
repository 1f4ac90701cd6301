"""What a node says about itself, on standard error: text for people, or a JSON object a line."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any

import structlog

from hostd.detail import DETAIL


def configure(form: str, level: str) -> None:
    """Set how and from which level on ("debug", "info", "warning", "error") the log is written. Libraries speak from warnings on."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=0,
            exception_formatter=structlog.dev.plain_traceback,  # without the values of variables: they may be a patient's
        )
    )
    tail = [structlog.processors.format_exc_info] if form == "json" else []
    added: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *tail,
    ]
    structlog.configure(
        processors=[*added, renderer],
        wrapper_class=_speaking_from(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    DETAIL.is_told = level == "debug"
    # pydicom's warnings quote the values that they complain of, which may be a patient's.
    warnings.filterwarnings("ignore", module=r"pydicom\.")
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    of_libraries = logging.StreamHandler(sys.stderr)
    of_libraries.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*added, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[of_libraries], level=logging.WARNING, force=True)


def set_level(level: str) -> None:
    """Write the log from that level on, from now on."""
    structlog.configure(wrapper_class=_speaking_from(level))
    DETAIL.is_told = level == "debug"


def _speaking_from(level: str) -> Any:
    return structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()])
