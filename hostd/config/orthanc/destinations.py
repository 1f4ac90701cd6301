"""`DicomModalities`, `OrthancPeers` and the servers of `DicomWeb` as hostd's destinations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hostd.config.orthanc.draft import Draft
from hostd.config.orthanc.options import MODALITY_RIGHTS, remark_on
from hostd.config.orthanc.reading import FromVariable
from hostd.dicom.syntaxes import UnknownSyntaxError, lookup

_MODALITY = ("AET", "Host", "Port", "Manufacturer")
_RETRIEVE = "DicomDefaultRetrieveMethod"
_RETRIEVE_BY = {"C-MOVE": "move", "C-GET": "get"}
_BY_HTTP = ("Url", "Username", "Password")


def modalities(draft: Draft) -> None:
    """Put `DicomModalities` into the draft as `[modalities.NAME]`."""
    transcodes = draft.flag("TranscodeDicomProtocol", default=True)
    preferred = _preferred(draft)
    for name, entry in draft.table("DicomModalities").items():
        option = f"DicomModalities.{name}"
        given = _as_object(draft, option, entry, _MODALITY, sizes=(3, 4))
        if given is None:
            continue
        one = draft.inside(given, option)
        loc = ("modalities", name)
        draft.begin(loc, option)
        for key, setting in (("AET", "aet"), ("Host", "host"), ("Port", "port")):
            draft.put((*loc, setting), given.get(key), f"{option}.{key}")
        draft.put((*loc, "calling_aet"), given.get("LocalAet") or None, f"{option}.LocalAet")
        draft.put((*loc, "timeout_s"), one.number("Timeout"), f"{option}.Timeout")
        _retrieves(draft, loc, option, given.get("RetrieveMethod"))
        if not transcodes or not one.flag("AllowTranscoding", default=True):
            cause = f"{option}.AllowTranscoding" if transcodes else "TranscodeDicomProtocol"
            draft.put((*loc, "allow_transcoding"), False, cause)
        elif preferred is not None:
            draft.put((*loc, "prefer"), preferred, "DicomScuPreferredTransferSyntax")
        for key, setting in MODALITY_RIGHTS.items():
            if not one.flag(key, default=True):
                draft.put((*loc, setting), False, f"{option}.{key}")
        if one.flag("UseDicomTls", default=False):
            _speaks_tls(draft, loc, option)
        _remarks(draft, "DicomModalities", name, given)


def _retrieves(draft: Draft, loc: tuple[str, ...], option: str, own: Any) -> None:
    """Put how a modality is had to send what it has."""
    for source, said in ((f"{option}.RetrieveMethod", own), (_RETRIEVE, draft.given.get(_RETRIEVE))):
        if said in (None, "SystemDefault"):
            continue
        if isinstance(said, str) and said in _RETRIEVE_BY:
            draft.put((*loc, "retrieve_by"), _RETRIEVE_BY[said], source)
        else:
            draft.problem(source, f"should be one of {', '.join(_RETRIEVE_BY)}")
        return


def _preferred(draft: Draft) -> str | None:
    option = "DicomScuPreferredTransferSyntax"
    name = draft.given.get(option)
    if not name:
        return None
    try:
        if lookup(str(name)).is_lossy:
            draft.note(option, "loses information, which is never done unasked: explicit is preferred")
            return None
    except UnknownSyntaxError as error:
        draft.problem(option, str(error))
        return None
    return str(name)


def _speaks_tls(draft: Draft, loc: tuple[str, ...], option: str) -> None:
    draft.put((*loc, "tls"), True, f"{option}.UseDicomTls")
    # Orthanc looks at no name either; what it trusts is in a file of its own.
    draft.put((*loc, "tls_check_name"), False, f"{option}.UseDicomTls")
    for key, setting in (
        ("DicomTlsTrustedCertificates", "ca_file"),
        ("DicomTlsCertificate", "client_certificate_file"),
        ("DicomTlsPrivateKey", "client_key_file"),
    ):
        draft.put((*loc, setting), draft.path(key), key)
    draft.note(
        f"{option}.UseDicomTls",
        "whose certificate is trusted is checked, and not the name in it, as by Orthanc; tls_check_name = true checks that too",
    )


def peers(draft: Draft) -> None:
    """Put the peers."""
    draft.path("HttpsCACertificates")  # judged where there is no peer, too
    for name, entry in draft.table("OrthancPeers").items():
        option = f"OrthancPeers.{name}"
        if (given := _reached(draft, ("peers", name), option, entry)) is not None:
            _remarks(draft, "OrthancPeers", name, given)


def dicomweb(draft: Draft) -> None:
    """Put the servers that the plug-in for DICOMweb sends to. What else they are told to have is of no account here."""
    plug_in = draft.inside(draft.table("DicomWeb"), "DicomWeb")
    for name, entry in plug_in.table("Servers").items():
        _reached(draft, ("dicomweb", name), f"DicomWeb.Servers.{name}", entry)


def _reached(draft: Draft, loc: tuple[str, str], option: str, entry: Any) -> Mapping[str, Any] | None:
    """Put what is reached by HTTP; return what was given for it, as an object."""
    given = _as_object(draft, option, entry, _BY_HTTP, sizes=(1, 3))
    if given is None:
        return None
    one = draft.inside(given, option)
    draft.begin(loc, option)
    draft.put((*loc, "url"), given.get("Url"), f"{option}.Url")
    for setting, key in (("username", "Username"), ("password", "Password"), ("password_file", "Password")):
        draft.put((*loc, setting), None, f"{option}.{key}")
    if given.get("Username"):
        draft.put((*loc, "username"), given["Username"], f"{option}.Username")
        password = given.get("Password", "")
        if isinstance(password, FromVariable):
            draft.put((*loc, "password_env"), password.variable, f"{option}.Password")
        else:
            draft.put((*loc, "password"), password, f"{option}.Password")
    elif given.get("Password"):
        one.problem("Password", "is there without a Username: add it")
    draft.put((*loc, "headers"), given.get("HttpHeaders") or None, f"{option}.HttpHeaders")
    timeout = one.number("Timeout")
    if timeout is None:
        draft.put((*loc, "timeout_s"), draft.number("HttpTimeout"), "HttpTimeout")
    draft.put((*loc, "timeout_s"), timeout, f"{option}.Timeout")
    draft.put((*loc, "ca_file"), draft.path("HttpsCACertificates"), "HttpsCACertificates")
    for key, setting in (("CertificateFile", "client_certificate_file"), ("CertificateKeyFile", "client_key_file")):
        draft.put((*loc, setting), one.path(key), f"{option}.{key}")
    return given


def _as_object(
    draft: Draft, option: str, entry: Any, keys: Sequence[str], *, sizes: Sequence[int]
) -> Mapping[str, Any] | None:
    """Return an entry that may be an array as the object that says the same, None for one that is neither."""
    if isinstance(entry, dict):
        return entry
    if isinstance(entry, list) and len(entry) in sizes:
        return dict(zip(keys, entry, strict=False))
    names = " or ".join(f"[{', '.join(keys[:size])}]" for size in sizes)
    draft.problem(option, f"should be an object, or an array {names}")
    return None


def _remarks(draft: Draft, table: str, name: str, given: Mapping[str, Any]) -> None:
    for key, value in given.items():
        if text := remark_on(f"{table}.{key}", value):
            draft.note(f"{table}.{name}.{key}", text)
