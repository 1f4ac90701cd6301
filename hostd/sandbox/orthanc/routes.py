"""The routes of Orthanc's REST API that a script may use: what is asked is answered from the event, what acts enters the plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

from hostd.sandbox.granted import shown
from hostd.sandbox.orthanc import querying, resources, searching
from hostd.sandbox.orthanc.functions import modified, send
from hostd.sandbox.orthanc.resources import KINDS, Kind, Resources
from hostd.sandbox.orthanc.session import Chain, Session

_PASSED_OVER = {"Synchronous", "Asynchronous", "Permissive", "UserData", "Compress"}
"""What bodies of store routes say of how Orthanc is to wait, which has no meaning here."""


class Request(msgspec.Struct, frozen=True):
    """A request of a script: the parts of its path that a pattern leaves open, its query and its body."""

    session: Session
    route: str
    parts: tuple[str, ...]
    query: str
    body: object

    @property
    def resources(self) -> Resources:
        """What answers questions."""
        return Resources(self.session)

    def fields(self) -> dict[str, Any]:
        """Return the body as an object of JSON. Raises `TypeError` or `ValueError` when it is none."""
        found = json.loads(self.body) if isinstance(self.body, str) else self.body
        if not isinstance(found, dict):
            raise TypeError(f"the body of {self.route} is an object, written by DumpJson, not {shown(self.body)}")
        return found


Answer = Callable[[Request], Any]


class Route(msgspec.Struct, frozen=True):
    """A route that is answered: `{}` in its pattern stands for one part of a path."""

    method: str
    pattern: str
    does: str
    answer: Answer


# -- questions --------------------------------------------------------------------------------------------------------


def _described(kind: Kind) -> Answer:
    return lambda asked: _json(asked.resources.described(kind, asked.parts[0]))


def _above(kind: Kind, above: Kind) -> Answer:
    return lambda asked: _json(asked.resources.above(kind, asked.parts[0], above))


def _parts(kind: Kind, below: Kind) -> Answer:
    return lambda asked: _json(asked.resources.parts(kind, asked.parts[0], below))


def _metadata(kind: Kind) -> Answer:
    return lambda asked: _json(list(asked.resources.metadata(kind, asked.parts[0])))


def _metadata_value(kind: Kind) -> Answer:
    return lambda asked: asked.resources.metadata(kind, asked.parts[0])[asked.parts[1]]


def _tags(asked: Request) -> Any:
    tags = asked.resources.tags(asked.parts[0])
    if "simplify" in asked.query:
        return _json(resources.simplified(tags))
    return _json(resources.full(asked.session, tags, short="short" in asked.query))


def _simplified_tags(asked: Request) -> Any:
    return _json(resources.simplified(asked.resources.tags(asked.parts[0])))


def _file(asked: Request) -> Chain:
    meant = asked.session.meant(asked.parts[0], asked.route)
    return asked.session.chain(meant.x, meant.of, meant.name)


def _json(value: object) -> str:
    return json.dumps(value)


# -- actions ----------------------------------------------------------------------------------------------------------


def _store(kind: str) -> Answer:
    def store(asked: Request) -> str:
        named, how = _store_body(asked)
        for one in named:
            send(asked.session, asked.session.meant(one, asked.route), kind, asked.parts[0], **how)
        return "{}"

    return store


def _store_body(asked: Request) -> tuple[list[object], dict[str, Any]]:
    """Return what a store route is to send, and how."""
    body: Any = asked.body
    if isinstance(body, str) and body[:1] in ('"', "[", "{"):
        body = json.loads(body)
    if not isinstance(body, dict):
        return (list(body) if isinstance(body, (list, tuple)) else [body]), {}
    rest = {name: value for name, value in body.items() if name not in _PASSED_OVER}
    named, priority, syntax = rest.pop("Resources", []), rest.pop("Priority", 0), rest.pop("Transcode", None)
    if rest:
        raise ValueError(
            f"{asked.route}: {', '.join(map(str, sorted(rest)))} cannot be said here; see the settings of the destination"
        )
    if not isinstance(priority, int) or not isinstance(named, (list, tuple, str)):
        raise TypeError(f"{asked.route}: Priority is a whole number, Resources a list of identifiers")
    how = {"priority": "high" if priority > 0 else "low" if priority < 0 else "normal", "syntax": syntax}
    return [named] if isinstance(named, str) else list(named), how


def _store_straight(asked: Request) -> str:
    if not isinstance(asked.body, Chain):
        raise TypeError(
            f'{asked.route} takes what RestApiGet("/instances/{{id}}/file") or "/modify" gives, not {shown(asked.body)}'
        )
    send(asked.session, asked.session.meant(asked.body, asked.route), "modality", asked.parts[0])
    return "{}"


def _modify(asked: Request) -> Chain:
    meant, body = asked.session.meant(asked.parts[0], asked.route), asked.fields()
    syntax = body.pop("Transcode", None)
    replace, remove = body.pop("Replace", None), body.pop("Remove", None)
    keep, private = body.pop("Keep", []), bool(body.pop("RemovePrivateTags", False))
    body.pop("Force", None)
    keep_uids = "SOPInstanceUID" in keep
    kept = [one for one in keep if one != "SOPInstanceUID"]
    quality = body.pop("LossyQuality", None)
    if body:
        raise ValueError(f"{asked.route}: {', '.join(sorted(body))} cannot be said here")
    if syntax is not None:
        handle = asked.session.host.transcode(meant.x, syntax, quality=quality, or_original=False)
        is_lossless = quality is None and not meant.is_product
        chain = asked.session.made(handle, meant, asked.route, is_lossless=is_lossless)
        if not replace and not remove and not private:
            return chain
        meant = asked.session.meant(chain, asked.route)
    return modified(
        asked.session, meant, replace, remove, private=private, verb=asked.route, keep=kept, keep_uids=keep_uids
    )


def _upload(asked: Request) -> str:
    if not isinstance(asked.body, Chain):
        raise TypeError(
            f'{asked.route} takes what RestApiPost("/instances/{{id}}/modify", …) gave, not {shown(asked.body)}'
        )
    meant = asked.session.meant(asked.body, asked.route)
    asked.session.keep(meant)
    return _json({"ID": meant.name, "Path": f"/instances/{meant.name}"})


def _find(asked: Request) -> str:
    return _json(searching.find(asked.session, asked.fields(), asked.route))


def _query(asked: Request) -> str:
    return _json(querying.query(asked.session, asked.parts[0], asked.fields(), asked.route))


def _answers(asked: Request) -> str:
    return _json(querying.answers(asked.session, asked.parts[0]))


def _answer(asked: Request) -> str:
    tags = querying.answer(asked.session, asked.parts[0], asked.parts[1])
    if "simplify" in asked.query:
        return _json(resources.simplified(tags))
    return _json(resources.full(asked.session, tags, short="short" in asked.query))


def _retrieve(asked: Request) -> str:
    number = asked.parts[1] if len(asked.parts) > 1 else None
    is_object = isinstance(asked.body, dict) or (isinstance(asked.body, str) and asked.body.startswith("{"))
    body = asked.fields() if is_object else asked.body
    return querying.retrieve(asked.session, asked.parts[0], number, body, asked.route)


def _move(asked: Request) -> str:
    return querying.move(asked.session, asked.parts[0], asked.fields(), asked.route)


def _anonymize(asked: Request) -> Chain:
    known = asked.session.run.world.load.projects
    if len(known) != 1:
        raise ValueError(
            "Orthanc's spelling de-identifies for the one project of the configuration, [projects.NAME], and there are "
            f"{len(known)}: write a handler of hostd's, with host.anonymize(instance, project=…)"
        )
    meant = asked.session.meant(asked.parts[0], asked.route)
    return asked.session.made(asked.session.host.anonymize(meant.x, known[0]), meant, asked.route)


def _set_metadata(asked: Request) -> str:
    if not isinstance(asked.body, str):
        raise TypeError(f"{asked.route} takes the text itself, not {shown(asked.body)}")
    asked.session.host.set_metadata(_stored(asked), asked.parts[1], asked.body)
    return ""


def _drop_metadata(asked: Request) -> bool:
    asked.session.host.set_metadata(_stored(asked), asked.parts[1], None)
    return True


def _labels(asked: Request) -> str:
    return _json(list(_stored(asked).labels))


def _label(asked: Request) -> str:
    asked.session.host.label(_stored(asked), asked.parts[1])
    return ""


def _unlabel(asked: Request) -> bool:
    asked.session.host.unlabel(_stored(asked), asked.parts[1])
    return True


def _stored(asked: Request) -> Any:
    """Return the instance or level that a route names."""
    meant = asked.session.meant(asked.parts[0], asked.route)
    if meant.is_product:
        raise ValueError(f"{asked.route}: what this run makes has no metadata and no labels until it is stored")
    return meant.x


def _delete(asked: Request) -> bool:
    asked.session.delete(asked.session.meant(asked.parts[0], asked.route))
    return True


def _routes() -> list[Route]:
    found = [
        Route("GET", "/instances/{}/tags", "the tags, also `?simplify` and `?short`", _tags),
        Route("GET", "/instances/{}/simplified-tags", "the tags by keyword", _simplified_tags),
        Route("GET", "/instances/{}/file", "what stands for the file: to be passed on, not to be read", _file),
    ]
    for plural, kind in KINDS.items():
        found += [
            Route("GET", f"/{plural}/{{}}", f"the {kind}, as far as the event knows it", _described(kind)),
            Route("GET", f"/{plural}/{{}}/metadata", "the names of its metadata", _metadata(kind)),
            Route("GET", f"/{plural}/{{}}/metadata/{{}}", "the value, None where there is none", _metadata_value(kind)),
            Route(
                "PUT", f"/{plural}/{{}}/metadata/{{}}", "as `host.set_metadata`; the body is the text", _set_metadata
            ),
            Route("DELETE", f"/{plural}/{{}}/metadata/{{}}", "removes it", _drop_metadata),
            Route("GET", f"/{plural}/{{}}/labels", "its labels", _labels),
            Route("PUT", f"/{plural}/{{}}/labels/{{}}", "as `host.label`", _label),
            Route("DELETE", f"/{plural}/{{}}/labels/{{}}", "as `host.unlabel`", _unlabel),
            Route("DELETE", f"/{plural}/{{}}", "as `Delete`", _delete),
        ]
    order: list[Kind] = ["patient", "study", "series", "instance"]
    plurals = {kind: plural for plural, kind in KINDS.items()}
    for place, kind in enumerate(order):
        plural = plurals[kind]
        found += [Route("GET", f"/{plural}/{{}}/{one}", f"its {one}", _above(kind, one)) for one in order[:place]]
        found += [
            Route("GET", f"/{plural}/{{}}/{plurals[one]}", f"its {plurals[one]}", _parts(kind, one))
            for one in order[place + 1 :]
        ]
    return [
        *found,
        Route(
            "POST",
            "/tools/find",
            "as `host.find`: `Level`, `Query` without wildcards, `Labels` (one), `Limit`, `Expand`",
            _find,
        ),
        Route(
            "POST",
            "/instances",
            "stores what `/modify` gave; the `ID` in its answer stands for that, in this run",
            _upload,
        ),
        Route(
            "POST",
            "/modalities/{}/store",
            "as `SendToModality`: an identifier, a list, or `Resources`, `Priority`",
            _store("modality"),
        ),
        Route(
            "POST",
            "/modalities/{}/query",
            "as `host.query`, which it needs the capability for: `Level`, `Query`",
            _query,
        ),
        Route("GET", "/queries/{}/answers", "the numbers of the answers, in this run", _answers),
        Route("GET", "/queries/{}/answers/{}/content", "one answer, also `?simplify` and `?short`", _answer),
        Route(
            "POST",
            "/queries/{}/answers/{}/retrieve",
            "as `host.retrieve`; the AE title is hostd's own, or none",
            _retrieve,
        ),
        Route("POST", "/queries/{}/retrieve", "the same of all answers", _retrieve),
        Route(
            "POST",
            "/modalities/{}/move",
            "as `host.retrieve`: `Level`, `Resources` by their UIDs, `TargetAet` as above",
            _move,
        ),
        Route("POST", "/modalities/{}/store-straight", "sends what `/modify` or `/file` gave", _store_straight),
        Route("POST", "/peers/{}/store", "as `SendToPeer`; also `Transcode`", _store("peer")),
        Route(
            "POST",
            "/instances/{}/modify",
            "as `ModifyInstance`: `Replace`, `Remove`, `Keep`, `RemovePrivateTags`, `Transcode`, `LossyQuality`",
            _modify,
        ),
        Route("POST", "/instances/{}/anonymize", "de-identifies for the one project of the configuration", _anonymize),
    ]


ROUTES: tuple[Route, ...] = tuple(_routes())
INSTEAD: dict[str, str] = {
    "/tools/create-dicom": "a script makes no instances out of nothing",
    "/tools/reset": "a script does not steer the node",
    "/tools/shutdown": "a script does not steer the node",
    "/jobs": "hostd retries deliveries by itself: see on_delivery_done and on_delivery_failed",
    "/changes": "every change is an event: see OnStable…, OnUpdated…, OnDeleted…",
    "/system": "a script has its own settings: GetOrthancConfiguration()",
    "/modalities": "destinations are the configuration's: name one in SendToModality",
    "/peers": "destinations are the configuration's: name one in SendToPeer",
}
"""What begins so has no counterpart here → what to do instead."""
