"""What Orthanc's configuration says in hostd's words: one function, from options to tables."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hostd.config.orthanc.destinations import dicomweb, modalities, peers
from hostd.config.orthanc.draft import Converted, Draft
from hostd.config.orthanc.options import SYNTAX_GROUPS
from hostd.config.orthanc.recipes import in_place_of
from hostd.dicom.loss import DEFAULT_QUALITY
from hostd.dicom.syntaxes import JPEG_LS_NEAR, UnknownSyntaxError, lookup

ANYWHERE = "0.0.0.0"  # noqa: S104 - Orthanc listens there, and whoever takes its place must be found there
_ANY_NUMBER = 100_000
_TLS_1_3 = 5
"""Orthanc's number for TLS 1.3; those below are older versions."""


def from_orthanc(given: Mapping[str, Any], *, base: Path, hashed: Callable[[str, str], str]) -> Converted:
    """Return what these options of Orthanc's are in hostd's tables, with Orthanc's defaults where others would notice them.

    Relative paths are relative to `base`; all that come out are absolute. `hashed` gives the hash of a user's password.
    Options that are not what Orthanc takes either are among the problems; values are judged by `Settings`.
    """
    draft = Draft(given, base)
    _node(draft)
    _dicom(draft)
    _query(draft)
    _http(draft, hashed)
    _ingest(draft)
    modalities(draft)
    peers(draft)
    dicomweb(draft)
    draft.seconds("DicomScuTimeout", "delivery", "timeout_s")
    draft.move("DicomAssociationCloseDelay", "delivery", "linger_s")
    _scripts(draft)
    draft.remarks()
    return draft.converted()


def _node(draft: Draft) -> None:
    name = str(draft.given.get("Name") or "MyOrthanc")
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("._-")[:64] or "MyOrthanc"
    if plain != name:
        draft.note("Name", f"the node is called {plain}: names are of letters, digits, '.', '_' and '-'")
    draft.put(("node", "name"), plain, "Name")
    storage = draft.path("StorageDirectory", "OrthancStorage")
    if storage is not None:
        _folders(draft, storage)
    # 0 is 60 s for Orthanc too.
    draft.put(("stable", "quiet_s"), draft.number("StableAge"), "StableAge")
    _limits(draft)


def _folders(draft: Draft, storage: str) -> None:
    beside = os.path.dirname(storage)  # noqa: PTH120 - a text, for TOML
    # Where Orthanc may write, hostd may too: often not where the configuration is.
    data, scripts = (f"{beside.rstrip('/')}/{name}" for name in ("hostd-data", "hostd-scripts"))
    draft.put(("node", "data"), data, "StorageDirectory")
    draft.put(("node", "scripts"), scripts, "StorageDirectory")
    draft.note(
        "StorageDirectory",
        f"is left as it is: `hostd import {shlex.quote(storage)}` takes over what is in it; hostd's data goes into {data}, its scripts are in {scripts}",
    )


def _limits(draft: Draft) -> None:
    draft.put(("storage", "max_size_mb"), draft.number("MaximumStorageSize"), "MaximumStorageSize")
    draft.put(("storage", "max_patients"), draft.number("MaximumPatientCount"), "MaximumPatientCount")
    match draft.given.get("MaximumStorageMode"):
        case None | "Recycle":
            if "storage" in draft.values:
                draft.put(("storage", "when_full"), "recycle", "MaximumStorageMode")
        case "Reject":
            draft.put(("storage", "when_full"), "refuse", "MaximumStorageMode")
        case _:
            draft.problem("MaximumStorageMode", "should be Recycle or Reject")


def _dicom(draft: Draft) -> None:
    for option, setting in (
        ("DicomServerEnabled", "enabled"),
        ("DicomCheckCalledAet", "check_called_aet"),
        ("MaximumPduLength", "max_pdu"),
    ):
        draft.move(option, "dicom", setting)
    port = draft.given.get("DicomPort", 4242)
    draft.put(("dicom", "host"), ANYWHERE, "DicomPort")
    draft.put(("dicom", "port"), port, "DicomPort")
    draft.put(("dicom", "aets"), [draft.given.get("DicomAet") or "ORTHANC"], "DicomAet")
    draft.seconds("DicomScpTimeout", "dicom", "timeout_s")
    _accepting(draft)
    if not draft.flag("DicomTlsEnabled", default=False):
        return
    draft.put(("dicom", "tls_port"), port, "DicomTlsEnabled")
    draft.put(("dicom", "certificate_file"), draft.path("DicomTlsCertificate"), "DicomTlsCertificate")
    draft.put(("dicom", "key_file"), draft.path("DicomTlsPrivateKey"), "DicomTlsPrivateKey")
    if draft.flag("DicomTlsRemoteCertificateRequired", default=True):
        trusted = draft.path("DicomTlsTrustedCertificates")
        draft.put(("dicom", "client_ca_file"), trusted, "DicomTlsTrustedCertificates")
        if trusted is None:
            draft.problem(
                "DicomTlsTrustedCertificates", "is missing: add it, or DicomTlsRemoteCertificateRequired = false"
            )
    _tls_minimum(draft, "DicomTlsMinimumProtocolVersion", "dicom")


_FOR_EVERYBODY = ("Echo", "Store", "Find", "Move", "Get")


def _accepting(draft: Draft) -> None:
    """Put what is accepted of whom. What Orthanc accepts by default is said, where hostd's default is another."""
    option = "AcceptedTransferSyntaxes"
    accepted = _texts(draft, option, ["1.2.840.10008.1.*"])
    rejected: list[str] = []
    for group, uids in SYNTAX_GROUPS.items():
        switch = f"{group}TransferSyntaxAccepted"
        if draft.given.get(switch) is None:
            continue
        if draft.flag(switch, default=True):
            accepted += uids
        else:
            rejected += uids
            draft.options["dicom", "rejected_transfer_syntaxes"] = switch
    draft.put(("dicom", "accepted_transfer_syntaxes"), accepted, option)
    if rejected:
        draft.put(
            ("dicom", "rejected_transfer_syntaxes"),
            rejected,
            draft.options["dicom", "rejected_transfer_syntaxes"],
        )
    for option, setting in (
        ("AcceptedSopClasses", "accepted_sop_classes"),
        ("RejectedSopClasses", "rejected_sop_classes"),
    ):
        if listed := _texts(draft, option, []):
            draft.put(("dicom", setting), listed, option)
    draft.move("UnknownSopClassAccepted", "dicom", "accept_unknown_sop_classes")
    for service in _FOR_EVERYBODY:
        draft.move(f"DicomAlwaysAllow{service}", "dicom", f"always_allow_{service.lower()}")
    draft.move("DicomCheckModalityHost", "dicom", "check_modality_host")
    draft.move("TranscodeDicomProtocol", "dicom", "transcode")
    strict = draft.flag("StrictAetComparison", default=False)
    draft.put(("dicom", "strict_aet_comparison"), strict, "StrictAetComparison")


def _query(draft: Draft) -> None:
    for option, setting in (
        ("CaseSensitivePN", "case_sensitive_pn"),
        ("LimitFindResults", "limit_results"),
        ("LimitFindInstances", "limit_instances"),
        ("AllowFindSopClassesInStudy", "sop_classes_in_study"),
    ):
        draft.move(option, "query", setting)
    match draft.given.get("StorageAccessOnFind"):
        case None:
            pass
        case "Always" | "Answers" | "Never" as how:
            draft.put(("query", "read_files"), how.lower(), "StorageAccessOnFind")
        case _:
            draft.problem("StorageAccessOnFind", "should be Always, Answers or Never")


def _texts(draft: Draft, option: str, default: list[str]) -> list[str]:
    """Return an option that is a list of texts, or one text."""
    value = draft.given.get(option)
    if value is None:
        return default
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        draft.problem(option, "should be a list of UIDs, as text")
        return default
    return [*listed]


def _tls_minimum(draft: Draft, option: str, face: str) -> None:
    version = draft.number(option)
    if version is not None:
        draft.put((face, "tls_minimum"), "1.3" if version >= _TLS_1_3 else "1.2", option)


def _queries(draft: Draft) -> None:
    if "QueryRetrieveSize" in draft.given:
        draft.put(("http", "queries"), draft.number("QueryRetrieveSize") or _ANY_NUMBER, "QueryRetrieveSize")


def _noted(draft: Draft) -> None:
    draft.move("CheckRevisions", "http", "check_revisions")
    draft.options["http", "metadata_numbers"] = "UserMetadata"
    draft.options["http", "attachment_numbers"] = "UserContentType"
    for name, number in draft.table("UserMetadata").items():
        draft.put(("http", "metadata_numbers", name), number, f"UserMetadata.{name}")
    for name, given in draft.table("UserContentType").items():
        option = f"UserContentType.{name}"
        match given:
            case [number, str(media_type)]:
                draft.put(("http", "attachment_numbers", name), number, option)
                draft.put(("http", "attachment_types", name), media_type, option)
            case [*_]:
                draft.problem(option, "should be a number, or a number and a media type")
            case _:
                draft.put(("http", "attachment_numbers", name), given, option)


def _http(draft: Draft, hashed: Callable[[str, str], str]) -> None:
    draft.move("HttpServerEnabled", "http", "enabled")
    draft.move("HttpPort", "http", "port")
    _queries(draft)
    _noted(draft)
    is_remote = draft.flag("RemoteAccessAllowed", default=False)
    users = draft.table("RegisteredUsers")
    is_open = not draft.flag("AuthenticationEnabled", default=is_remote)
    serves = draft.flag("HttpServerEnabled", default=True)
    if serves and draft.given.get("AuthenticationEnabled") is True and draft.given.get("RegisteredUsers") in (None, {}):
        # Orthanc lets nobody in then, or on other machines everybody who knows its default password.
        draft.problem(
            "AuthenticationEnabled",
            "is true, and there are no users: name one in RegisteredUsers, or AuthenticationEnabled = false",
        )
    elif is_open and users and is_remote:
        draft.note(
            "AuthenticationEnabled",
            "other machines may call, so that the users of RegisteredUsers must sign in all the same",
        )
    elif is_open:
        users = {}
    for name, password in users.items():
        if not isinstance(password, str) or not password:
            draft.problem(f"RegisteredUsers.{name}", "should be a password, as text")
            continue
        option = f"RegisteredUsers.{name}"
        draft.begin(("users", name), option)
        draft.put(("users", name, "password_hash"), hashed(name, password), option)
        draft.put(("users", name, "role"), "admin", option)
    draft.options["http", "host"] = "RemoteAccessAllowed"
    if is_remote and users:
        draft.put(("http", "host"), ANYWHERE, "RemoteAccessAllowed")
    elif is_remote and serves:
        draft.note(
            "RemoteAccessAllowed",
            "there are no users, so that HTTP is open to this machine only: anyone could read and delete. Name some in RegisteredUsers",
        )
    if draft.flag("SslEnabled", default=False):
        certificate = draft.path("SslCertificate", "certificate.pem")
        draft.put(("http", "certificate_file"), certificate, "SslCertificate")
        draft.put(("http", "key_file"), certificate, "SslCertificate")
        _tls_minimum(draft, "SslMinimumProtocolVersion", "http")
        if draft.flag("SslVerifyPeers", default=False):
            trusted = draft.path("SslTrustedClientCertificates", "trustedClientCertificates.pem")
            draft.put(("http", "client_ca_file"), trusted, "SslTrustedClientCertificates")


def _ingest(draft: Draft) -> None:
    draft.put(("ingest", "on_conflict"), _on_conflict(draft), "OverwriteInstances")
    for option, setting in (
        ("IngestTranscodingOfUncompressed", "of_uncompressed"),
        ("IngestTranscodingOfCompressed", "of_compressed"),
    ):
        draft.move(option, "ingest", setting)
    if target := draft.given.get("IngestTranscoding"):
        draft.put(("ingest", "transcode_to"), target, "IngestTranscoding")
        _loss(draft, str(target))
    draft.put(
        ("transcoding", "workers"),
        draft.number("MaximumConcurrentDcmtkTranscoders"),
        "MaximumConcurrentDcmtkTranscoders",
    )
    order = draft.given.get("BuiltinDecoderTranscoderOrder")
    if order == "Disabled":
        draft.note("BuiltinDecoderTranscoderOrder", "hostd's own codecs do what plug-ins did, and stay enabled")
    elif order in ("Before", "After"):
        draft.put(("transcoding", "builtin"), order.lower(), "BuiltinDecoderTranscoderOrder")
    elif order is not None:
        draft.problem("BuiltinDecoderTranscoderOrder", "should be Before, After or Disabled")


def _on_conflict(draft: Draft) -> str | None:
    match draft.given.get("OverwriteInstances", False):
        case False | "Never":
            return "first"
        case True | "Always" | "IfChanged":
            return "newest"
        case _:
            draft.problem("OverwriteInstances", "should be true or false, or Never, Always or IfChanged")
            return None


def _loss(draft: Draft, target: str) -> None:
    try:
        syntax = lookup(target)
    except UnknownSyntaxError:
        return  # `Settings` says so, with the nearest names
    if syntax is JPEG_LS_NEAR:
        draft.put(("ingest", "near"), 2, "IngestTranscoding")
    elif syntax.is_lossy:
        quality = draft.given.get("DicomLossyTranscodingQuality", DEFAULT_QUALITY)
        draft.put(("ingest", "quality"), quality, "DicomLossyTranscodingQuality")


def _scripts(draft: Draft) -> None:
    named = draft.given.get("LuaScripts") or []
    scripts = [("LuaScripts", one) for one in (named if isinstance(named, list) else [named])]
    if script := draft.given.get("PythonScript"):
        scripts.append(("PythonScript", script))
    for option, script in scripts:
        draft.note(f"{option} {script}", f"is not run; {in_place_of(str(script))}")
