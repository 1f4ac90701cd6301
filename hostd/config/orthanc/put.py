"""One modality or peer in Orthanc's form, as a section of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from hostd.config.orthanc import destinations
from hostd.config.orthanc.draft import Draft
from hostd.config.orthanc.options import MODALITY_RIGHTS
from hostd.config.problems import InvalidConfigurationError
from hostd.config.sections import Modality, Peer
from hostd.config.values import DestinationName
from hostd.errors import ConfigurationError

_NAME: TypeAdapter[str] = TypeAdapter(DestinationName)
_ROOT = Path("/")
_FLAGS = ("AllowStorageCommitment", "AllowTranscoding", "Pkcs11", "UseDicomTls", *MODALITY_RIGHTS)
_TEXTS = ("LocalAet", "Manufacturer", "Username", "Password", "CertificateFile", "CertificateKeyFile")
_TYPES: dict[str, tuple[type, str]] = {
    **dict.fromkeys(_FLAGS, (bool, "true or false")),
    **dict.fromkeys(_TEXTS, (str, "a text")),
    "HttpHeaders": (dict, "an object"),
    "Timeout": (int, "a number of seconds"),
}
"""What options are, and how that is said. A configuration may leave one empty (null), what is put may not."""


def entry(kind: Literal["modality", "peer"], name: str, given: Any) -> Modality | Peer:
    """Return the section that says the same as that object or array of Orthanc's. Raises `ConfigurationError`, which repeats nothing of it."""
    option, table, put = {
        "modality": ("DicomModalities", "modalities", destinations.modalities),
        "peer": ("OrthancPeers", "peers", destinations.peers),
    }[kind]
    _require_types(kind, given)
    draft = Draft({option: {name: given}}, _ROOT)
    put(draft)
    found = draft.converted()
    if found.problems:
        raise InvalidConfigurationError(found.problems)
    values = found.values.get(table, {}).get(name, {})
    section: type[Modality | Peer] = Modality if kind == "modality" else Peer
    try:
        _NAME.validate_python(name)
        made = section.model_validate(values)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}".lstrip(": ") for one in error.errors())
        raise ConfigurationError(f"the {kind} {name} cannot be used: {said}") from None
    if missing := [str(path) for path in made.files.values() if not path.is_file()]:
        raise ConfigurationError(f"the {kind} {name} cannot be used: there is no file {missing[0]}")
    return made


def _require_types(kind: str, given: Any) -> None:
    if isinstance(given, dict) and given.get("Password") and not given.get("Username"):
        raise ConfigurationError(f"the {kind} cannot be used: there is a Password without a Username")
    for option, value in given.items() if isinstance(given, dict) else ():
        expected, noun = _TYPES.get(option, (object, ""))
        if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
            raise ConfigurationError(f"the {kind} cannot be used: {option} should be {noun}")
