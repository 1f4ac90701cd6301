"""docs/from-orthanc.md has a row for every callback and function of Orthanc's scripts, and names nothing of hostd's that is not there."""

import builtins
import importlib
import re
from pathlib import Path

import pytest

from hostd.sandbox import api, filters, schedules

PAGE = (Path(__file__).parents[2] / "docs" / "from-orthanc.md").read_text("utf-8")
LEVELS = ("Patient", "Study", "Series", "Instance")
LUA_CALLBACKS = {
    "Initialize", "Finalize", "OnStoredInstance", "OnJobSubmitted", "OnJobSuccess", "OnJobFailure", "OnHeartBeat",
    "ReceivedInstanceFilter", "ReceivedCStoreInstanceFilter", "OutgoingCStoreInstanceFilter", "IncomingHttpRequestFilter",
    "IncomingFindRequestFilter", "IncomingWorklistRequestFilter", "OutgoingFindRequestFilter",
    *(f"OnStable{level}" for level in LEVELS[:3]), *(f"OnDeleted{level}" for level in LEVELS),
    *(f"OnUpdated{level}" for level in LEVELS),
}  # fmt: skip
LUA_FUNCTIONS = {
    "SendToModality", "SendToPeer", "Delete", "ModifyInstance", "ModifyResource", "CallSystem", "PrintRecursive",
    "RestApiGet", "RestApiPost", "RestApiPut", "RestApiDelete", "HttpGet", "HttpPost", "HttpPut", "HttpDelete",
    "SetHttpCredentials", "SetHttpTimeout", "ParseJson", "DumpJson", "GetOrthancConfiguration", "print", "SetStableStatus",
    "StoreKeyValue", "GetKeyValue", "DeleteKeyValue",
}  # fmt: skip
PYTHON_CALLBACKS = {
    "RegisterOnStoredInstanceCallback", "RegisterOnChangeCallback", "RegisterReceivedInstanceCallback",
    "RegisterIncomingCStoreInstanceFilter", "RegisterIncomingHttpRequestFilter", "RegisterRestCallback",
    "RegisterFindCallback", "RegisterFindCallback2", "RegisterMoveCallback", "RegisterMoveCallback2",
    "RegisterMoveCallback3", "RegisterWorklistCallback", "RegisterWorklistCallback2",
    "RegisterStorageCommitmentScpCallback", "RegisterStorageArea", "RegisterStorageArea2", "RegisterStorageArea3",
}  # fmt: skip
"""As of Orthanc 1.13.0 and its Python plug-in 7.1."""


def rows(title):
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \| ([^|]+) \| ?([^|]*)\|$", section, re.MULTILINE)


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("Callbacks of Lua", LUA_CALLBACKS),
        ("Functions of Lua", LUA_FUNCTIONS),
        ("Callbacks of Python plug-ins", PYTHON_CALLBACKS),
    ],
)
def test_each_has_one_row_with_its_counterpart_or_the_reason_why_there_is_none(title, names):
    found = rows(title)
    assert sorted(name for name, _, _ in found) == sorted(names)
    for name, counterpart, remark in found:
        assert counterpart != "none" or remark.strip(), name


def test_what_takes_their_place_exists():
    counterparts = set(re.findall(r"^\| `\w+` \| `([^`]+)` \|", PAGE, re.MULTILINE))
    assert len(counterparts) > 20
    for name in counterparts:
        owner, _, member = name.partition(".")
        assert (
            name in api.HANDLERS
            or name in filters.FILTERS
            or name in schedules.DECORATORS
            or (owner == "host" and hasattr(api.Host, member))
            or (owner == "json" and hasattr(importlib.import_module("json"), member))
            or hasattr(builtins, name)
        ), name
    for name in re.findall(r"`host\.(\w+)", PAGE):
        assert hasattr(api.Host, name) or hasattr(filters.FilterHost, name), name
