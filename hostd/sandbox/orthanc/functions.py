"""The functions of Orthanc's Lua that act: each asks for what hostd's own verbs ask for, and enters the same plan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hostd.sandbox.granted import shown
from hostd.sandbox.orthanc.session import Chain, Meant, Session
from hostd.sandbox.orthanc.tables import SimplifiedTags, Table, plain


def send_to_modality(session: Session, instance_id: object, modality: str, local_aet: str | None = None) -> Chain:
    """Send an instance to a modality of the configuration, as `host.forward` does; return what can be passed on.

    Also a series, study or patient, in a callback that is about one. A failed delivery is tried again and shown. The AE title that
    hostd calls with is a setting of the modality, so that `localAet` is refused.
    """
    meant = session.meant(instance_id, "SendToModality")
    if local_aet is not None:
        raise ValueError("the AE title that hostd calls with is a setting: [modalities.NAME] calling_aet")
    return send(session, meant, "modality", modality)


def send_to_peer(session: Session, instance_id: object, peer: str) -> Chain:
    """Send an instance to a peer of the configuration; otherwise as `SendToModality`."""
    return send(session, session.meant(instance_id, "SendToPeer"), "peer", peer)


def send(session: Session, meant: Meant, kind: str, name: object, **how: Any) -> Chain:
    """Forward what is meant to the destination of that kind; return what is passed on."""
    qualified = f"{kind}:{name}" if isinstance(name, str) else name
    to: Any = qualified if qualified in session.run.world.load.known_destinations else name
    session.sent(session.host.forward(meant.x, to, **how), meant)
    return session.chain(meant.x, meant.of, meant.name)


def delete(session: Session, instance_id: object) -> None:
    """Delete an instance once everything has arrived that this run sends of it; at once when it sends nothing of it.

    Where Orthanc deletes although a send failed, the instance stays, and the delete is held, visibly. What `ModifyInstance` made is
    then made for what is sent alone, and not stored. It passes nothing on. Needs the capability "delete".
    """
    session.delete(session.meant(instance_id, "Delete"))


def modify_instance(
    session: Session,
    instance_id: object,
    replace: object = None,
    remove: Sequence[str] | None = None,
    remove_private_tags: bool = False,
) -> Chain:
    """Set and remove attributes of an instance, as `host.modify` does; store what comes of it, and return what can be sent.

    `replace` is a dict from keywords to values, `remove` a list of keywords. Values stay the texts that they are, and numbers become
    texts. The result has a SOP Instance UID of its own. If it cannot be made, nothing of the instance is sent. It is stored when the
    run has ended, unless the script deletes it: `Delete(SendToModality(ModifyInstance(…), "archive"))`. Needs the capability "modify",
    and "store" when it is stored.
    """
    meant = session.meant(instance_id, "ModifyInstance")
    return modified(
        session, meant, replace, remove, private=bool(remove_private_tags), verb="ModifyInstance", is_kept=True
    )


def modified(
    session: Session,
    meant: Meant,
    replace: object,
    remove: object,
    *,
    private: bool,
    verb: str,
    keep: Sequence[str] = (),
    keep_uids: bool = False,
    is_kept: bool = False,
) -> Chain:
    """Modify what is meant; return what is passed on."""
    if replace is not None and not isinstance(replace, (dict, Table, SimplifiedTags)):
        raise TypeError(f"what {verb} replaces is a dict from keywords to values, not {shown(replace)}")
    handle = session.host.modify(
        meant.x,
        set=_texts(plain(replace)) if replace else None,
        remove=_names(remove),
        keep=keep,
        private="remove" if private else "keep",
        keep_uids=keep_uids,
    )
    return session.made(handle, meant, verb, is_kept=is_kept)


def call_system(session: Session, instance_id: object, command: str, args: Sequence[object]) -> Chain:
    """Have the tool of the configuration that is called like `command` make something of an instance; return what can be sent.

    As `host.run_tool` does: the tool is run when what it makes is sent, with limits and without network, and its result is
    checked. `[tools.NAME]` says how it is called. Needs the capability "tools".
    """
    meant = session.meant(instance_id, "CallSystem")
    if not isinstance(command, str):
        raise TypeError(f"CallSystem names its command by a text, not {shown(command)}")
    if not isinstance(args, (list, tuple)):
        raise TypeError(f"the arguments of CallSystem are a list, which may be empty, not {shown(args)}")
    name = str.__str__(command).rpartition("/")[2]
    return session.made(session.host.run_tool(name, meant.x, [_text(one) for one in args]), meant, "CallSystem")


def get_orthanc_configuration(session: Session) -> dict[str, Any]:
    """Return the script's own settings, `[scripts."x.py".config]`: not the node's, which hold passwords."""
    return session.host.config


def store_key_value(session: Session, store: str, key: str, value: str) -> None:
    """Keep a text under a key, over restarts: in what the script keeps for itself, `host.state[store][key]`, with its limits."""
    if not all(isinstance(one, str) for one in (store, key, value)):
        raise TypeError("StoreKeyValue takes the names of the store and of the key, and the value, as texts")
    session.host.state.setdefault(str.__str__(store), {})
    _store(session, store)[str.__str__(key)] = str.__str__(value)


def get_key_value(session: Session, store: str, key: str) -> str | None:
    """Return what is kept under a key, None where there is nothing."""
    found: str | None = _store(session, store).get(key)
    return found


def delete_key_value(session: Session, store: str, key: str) -> None:
    """Forget what is kept under a key."""
    _store(session, store).pop(key, None)


def http_get(session: Session, url: str, headers: object = None) -> str | None:
    """Ask another system something: `HttpGet("registry/doses?limit=1")` asks the target `registry` of the configuration.

    Its answer as text, None where its status is not 2xx; no answer at all fails the run. Addresses, headers and secrets stand in
    `[targets.NAME]`. Needs the capability "http".
    """
    target, path = _target(url, headers, "HttpGet")
    answer = session.host.http_get(target, path)
    return answer.text if answer.is_good else None


def http_post(session: Session, url: str, body: object = None, headers: object = None) -> str:
    """Tell another system something as JSON, by the name of its target: `HttpPost("registry/doses", DumpJson(dose))`.

    It is done after the run, and tried again until there is an answer, which `on_action_done` tells; what is returned is an empty text.
    Needs the capability "http".
    """
    session.host.post(*_target(url, headers, "HttpPost"), _json_of(body))
    return ""


def http_put(session: Session, url: str, body: object = None, headers: object = None) -> str:
    """Tell another system something by PUT; otherwise as `HttpPost`."""
    session.host.put(*_target(url, headers, "HttpPut"), _json_of(body))
    return ""


def _target(url: object, headers: object, verb: str) -> tuple[str, str]:
    """Return the target and the path of what stands in the place of an address."""
    if not isinstance(url, str):
        raise TypeError(f"{verb} takes a target and a path as a text, not {shown(url)}")
    if headers:
        raise ValueError(f"headers are a setting of the target: [targets.NAME] headers; {verb} takes none")
    name, _, path = str.__str__(url).partition("/")
    if "://" in str.__str__(url):
        raise ValueError(
            f'{verb} takes the name of a target in place of an address: [targets.registry] url = "…", {verb}("registry/path")'
        )
    return name, path


def _json_of(body: object) -> Any:
    return json.loads(body) if isinstance(body, str) and body else plain(body)


def set_stable_status(session: Session, resource_id: object, is_stable: bool) -> None:
    """End the quiet time of the event's series, study or patient, as `host.declare_stable` does; it cannot be made longer."""
    meant = session.meant(resource_id, "SetStableStatus")
    if is_stable is not True:
        raise ValueError("what is stable is so until more of it comes; quiet time is a setting: [stable]")
    session.host.declare_stable(meant.x)


def _store(session: Session, name: object) -> dict[str, Any]:
    if not isinstance(name, str):
        raise TypeError(f"a store is named by a text, not {shown(name)}")
    found = session.host.state.get(str.__str__(name), {})
    if not isinstance(found, dict):
        raise TypeError(f"{shown(name)} is kept by this script, and is no store of keys and values")
    return found


def _names(given: object) -> list[str]:
    if given is None:
        return []
    found = list(given.values()) if isinstance(given, dict) else given
    if not isinstance(found, (list, tuple)) or not all(isinstance(one, str) for one in found):
        raise TypeError(f"what is removed is a list of keywords, not {shown(given)}")
    return list(found)


def _texts(value: Any) -> Any:
    """Return values with numbers as texts: what is set is set as it is written."""
    if isinstance(value, dict):
        return {name: _texts(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_texts(one) for one in value]
    return _text(value) if isinstance(value, (int, float)) else value


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError(f"a value is a text or a number, not {shown(value)}")
    return str.__str__(value) if isinstance(value, str) else f"{value:d}" if isinstance(value, int) else repr(value)
