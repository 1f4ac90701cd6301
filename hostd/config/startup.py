"""What must hold before a node starts, all at one time: `hostd config check` and the node ask here."""

from __future__ import annotations

from hostd.config.passwords import http_exposure_problem
from hostd.config.permissions import hindrance, refuse_network_file_system, refuse_writable_by_others
from hostd.config.settings import Settings
from hostd.errors import HostdError


def startup_problems(settings: Settings) -> list[str]:
    """Return why a node of these settings would refuse to start; nothing is changed on disk, no folder made."""
    problems = []
    if exposed := http_exposure_problem(settings):
        problems.append(exposed)
    try:
        refuse_network_file_system(settings.node.data)
    except HostdError as error:
        problems.append(str(error))
    scripts = settings.node.scripts
    if fault := hindrance(scripts):
        problems.append(fault)
    elif scripts.exists() and not settings.node.allow_insecure_permissions:
        for path in (scripts, *sorted(scripts.glob("*.py"))):
            try:
                refuse_writable_by_others(path)
            except HostdError as error:
                problems.append(str(error))
    return problems
