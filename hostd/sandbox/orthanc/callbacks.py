"""Orthanc's callbacks of Lua, and which events and filters of hostd call them."""

from __future__ import annotations

import ast

import msgspec


class Callback(msgspec.Struct, frozen=True):
    """A function of a script in Orthanc's spelling: what calls it, and what it is given, by position."""

    handlers: tuple[str, ...]
    parameters: tuple[str, ...]
    remark: str = ""


HEARTBEAT, PERIOD = "OnHeartBeat", "LuaHeartBeatPeriod"
"""What runs by the clock, and the script's own setting that says how often, in seconds."""
_LEVELS = ("Patient", "Study", "Series")


def _of_level(verb: str, level: str, *more: str, remark: str = "") -> Callback:
    return Callback((f"on_{verb}_{level.lower()}",), (f"{level[0].lower()}{level[1:]}Id", *more), remark)


CALLBACKS: dict[str, Callback] = {
    "Initialize": Callback(("on_start",), (), "Once a version of the script, not with every start of the node."),
    "Finalize": Callback(("on_stop",), (), "Once a version, after its last event."),
    "OnStoredInstance": Callback(
        ("on_stored_instance", "on_conflicting_instance"),
        ("instanceId", "tags", "metadata", "origin"),
        "Also when other content came under a known UID, as with `OverwriteInstances`; never for an identical repeat.",
    ),
    **{
        f"OnStable{level}": _of_level(
            "stable", level, "tags", "metadata",
            remark="`tags` also has the attributes of the levels above, `metadata` where it came from (`RemoteAET`).",
        )
        for level in _LEVELS
    },
    **{
        f"OnDeleted{level}": _of_level("deleted", level, remark="Nothing of it can be sent any more.")
        for level in (*_LEVELS, "Instance")
    },
    **{f"OnUpdated{level}": _of_level("updated", level) for level in (*_LEVELS, "Instance")},
    **{
        f"OnJob{said}": Callback(
            (f"on_job_{ours}",), ("jobId",),
            "Of jobs that are asked for by HTTP. What scripts send are no jobs: `def on_delivery_done(delivery, host)` and "
            "`def on_delivery_failed(delivery, host)` tell what became of it.",
        )
        for said, ours in (("Submitted", "submitted"), ("Success", "succeeded"), ("Failure", "failed"))
    },
    HEARTBEAT: Callback(
        (HEARTBEAT,), (), f"By the clock, as `@every`: `config = {{ {PERIOD} = 60 }}` in the script's entry says how many seconds."
    ),
    "ReceivedInstanceFilter": Callback(
        ("filter_received_instance",),
        ("dicom", "origin", "info"),
        "False discards the instance, and its sender is told that all went well. What is neither True nor False refuses it with 0xA700.",
    ),
    "ReceivedCStoreInstanceFilter": Callback(
        ("filter_received_instance",),
        ("dicom", "origin", "info"),
        "Asked about what comes by DICOM alone. 0 keeps the instance, a status of C-STORE that is a failure refuses it.",
    ),
    "OutgoingCStoreInstanceFilter": Callback(
        ("filter_outgoing_instance",),
        ("dicom", "destination"),
        "`destination.Name` is its name in the configuration; of a modality there are `destination.RemoteAet` and `destination.RemoteIp`, its host "
        "as configured. False fails the delivery with a reason; it never counts as sent.",
    ),
    "IncomingHttpRequestFilter": Callback(
        ("filter_http_request",),
        ("method", "uri", "ip", "username", "httpHeaders"),
        "False answers 403. An administrator on the machine itself is not asked about.",
    ),
    "IncomingFindRequestFilter": Callback(
        ("filter_find",),
        ("query", "origin"),
        "`query` goes by `gggg,eeee`; what is returned, a dict of these, is looked for in its place, but its level, `0008,0052`, stays. `origin` has "
        "`RemoteIp`, `RemoteAet` and `CalledAet`.",
    ),
    "OutgoingFindRequestFilter": Callback(
        ("filter_outgoing_find",),
        ("query", "modality"),
        "`query` goes by `gggg,eeee`; what is returned, a dict of these, is asked in its place. `modality` is the AE title.",
    ),
}  # fmt: skip
"""In the order of the documentation."""

WITHOUT_COUNTERPART: dict[str, str] = {
    "IncomingWorklistRequestFilter": "there is no worklist",
}
"""Callbacks that nothing calls → why, and what to write instead."""


def defined(tree: ast.Module) -> dict[str, int]:
    """Return the callbacks that a script defines at its top level, each with how many arguments it takes.

    As in Lua, one that takes fewer than it is given goes without the last ones.
    """
    return {
        node.name: _count(node) for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in CALLBACKS
    }


def _count(node: ast.FunctionDef) -> int:
    given = len(CALLBACKS[node.name].parameters)
    return given if node.args.vararg else min(given, len(node.args.posonlyargs) + len(node.args.args))


def wrong_parameters(node: ast.FunctionDef) -> str:
    """Say why a callback cannot be called; '' when it can."""
    given, takes = CALLBACKS[node.name].parameters, node.args
    required = len(takes.posonlyargs) + len(takes.args) - len(takes.defaults)
    if required <= len(given) and all(default is not None for default in takes.kw_defaults):
        return ""
    return f"{node.name} is called with ({', '.join(given)}): write `def {node.name}({', '.join(given)}):`"


def tables_of_tags(tree: ast.Module) -> set[str]:
    """Return the names by which a script's callbacks know the tags of their instance."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in CALLBACKS:
            given = CALLBACKS[node.name].parameters
            takes = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
            found |= {own for own, name in zip(takes, given, strict=False) if name in ("tags", "dicom")}
    return found
