"""Which role a request needs: by its method, but for the routes that are named here (docs/http.md has the role of every route)."""

from __future__ import annotations

import re

ROLES = ("read", "write", "admin")
"""From the least to the most; each may do what those before it may."""

_BY_METHOD = {"GET": "read", "HEAD": "read", "OPTIONS": "read", "POST": "write", "PUT": "write"}

_RESOURCE = "/(instances|patients|series|studies)/ID"

_EXCEPTIONS = {
    # They ask, and change nothing: neither here nor where they ask.
    "read": (
        "POST /destinations/ID/test",
        "POST /modalities/ID/echo",
        "POST /tools/(bulk-content|count-resources|create-archive|create-media|create-media-extended|find|lookup)",
        f"POST {_RESOURCE}/(archive|media)",
    ),
    # They take back what the same role may do.
    "write": (
        "DELETE /jobs/ID(/ID)?",
        "DELETE /queries/ID",
        f"DELETE {_RESOURCE}/(labels|metadata)/ID",
    ),
    # They remove what is stored, say where patients' data may go, or change how the node works.
    "admin": (
        "POST /storage-commitment/ID/remove",
        "POST /tools/(bulk-delete|dicom-echo|execute-script|reconstruct|reset|shutdown)",
        "PUT /(modalities|peers|tools)/ID",
    ),
}
_PATTERNS = [
    (re.compile(route.replace("ID", "[^/]+")), role) for role, routes in _EXCEPTIONS.items() for route in routes
]


def needed_role(method: str, path: str) -> str:
    """Return the role that a request needs; `path` is as the router sees it. What is not known needs the most."""
    for pattern, role in _PATTERNS:
        if pattern.fullmatch(f"{method} {path}"):
            return role
    return _BY_METHOD.get(method, "admin")


def suffices(role: str, needed: str) -> bool:
    """Tell whether who has one role may do what needs the other."""
    return ROLES.index(role) >= ROLES.index(needed)
