"""What must hold before a node starts, all at one time: `hostd config check` and the node ask here."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hostd.config.passwords import http_exposure_problem
from hostd.config.permissions import hindrance, refuse_network_file_system, refuse_writable_by_others
from hostd.config.problems import Problem
from hostd.config.sections import Dicom, Http
from hostd.config.serving import Serving
from hostd.config.settings import Settings
from hostd.dimse.tls import ServerTls
from hostd.errors import ConfigurationError, HostdError


def startup_problems(settings: Settings) -> list[Problem]:
    """Return why a node of these settings would refuse to start; nothing is changed on disk, no folder made."""
    problems = []
    if exposed := http_exposure_problem(settings):
        problems.append(Problem("", exposed))
    try:
        refuse_network_file_system(settings.node.data)
    except HostdError as error:
        problems.append(Problem("", str(error)))
    scripts = settings.node.scripts
    if fault := hindrance(scripts):
        problems.append(Problem("", fault))
    elif scripts.exists() and not settings.node.allow_insecure_permissions:
        for path in (scripts, *filter(_is_script, sorted(scripts.glob("*.py")))):
            try:
                refuse_writable_by_others(path)
            except HostdError as error:
                problems.append(Problem("", str(error)))
    return [*problems, *_faults_of_tls("dicom", settings.dicom), *_faults_of_tls("http", settings.http)]


def _is_script(path: Path) -> bool:
    """Tell whether a file is to be loaded. A link that leads nowhere, or to itself, stops no node: it is one script that is broken."""
    if path.name[0] in "._":  # an editor's lock file among them
        return False
    try:
        path.stat()
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ELOOP)
    return True


def served_over_tls(face: Serving) -> ServerTls | None:
    """Return how a face speaks TLS, None where it does not."""
    if face.certificate_file is None or face.key_file is None:
        return None
    return ServerTls(face.certificate_file, face.key_file, face.client_ca_file, face.tls_minimum)


def _faults_of_tls(name: str, face: Dicom | Http) -> Iterator[Problem]:
    tls = served_over_tls(face) if face.enabled else None
    if tls is None:
        return
    tried = [("certificate_file", replace(tls, client_ca_file=None))]
    if tls.client_ca_file is not None:
        tried.append(("client_ca_file", tls))
    for setting, part in tried:
        try:
            part.context()
        except ConfigurationError as error:
            yield Problem(f"{name}.{setting}", str(error))
            return
