"""The destinations of a configuration. A new kind adds its table to the settings, its file to `destinations`, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hostd.config import sections as settings_of
from hostd.config.settings import DESTINATION_TABLES, DestinationKind, Settings
from hostd.delivery.destinations import Destination
from hostd.delivery.destinations.dicomweb import DicomWeb
from hostd.delivery.destinations.folder import Folder
from hostd.delivery.destinations.modality import Modality
from hostd.delivery.destinations.peer import Peer
from hostd.delivery.http import Access
from hostd.delivery.terms import Terms
from hostd.dicom.syntaxes import lookup
from hostd.dimse.tls import Tls


def destinations_of(settings: Settings) -> dict[str, Destination]:
    """Return what deliveries may go to, by `kind:name`."""
    return {
        f"{kind}:{name}": destination for kind, made in _KINDS.items() for name, destination in made(settings).items()
    }


def terms_of(settings: Settings) -> dict[str, Terms]:
    """Return on what terms they are sent to, by `kind:name`."""
    return {
        f"{kind}:{name}": Terms.of(
            destination,
            settings.delivery.batch,
            settings.delivery.linger_s,
            ":".join(settings.resolve_destination(destination.alternate)) if destination.alternate else None,
        )
        for kind, table in DESTINATION_TABLES.items()
        for name, destination in getattr(settings, table).items()
    }


def _modalities(settings: Settings) -> dict[str, Destination]:
    return {
        name: Modality(
            name,
            host=modality.host,
            port=modality.port,
            aet=modality.aet,
            calling_aet=modality.calling_aet or settings.delivery.calling_aet,
            timeout_s=modality.timeout_s,
            prefer=modality.preferred_syntax.uid,
            require=lookup(modality.require).uid if modality.require else None,
            transcode=modality.allow_transcoding,
            tls=_tls(modality),
        )
        for name, modality in settings.modalities.items()
    }


def _tls(modality: settings_of.Modality) -> Tls | None:
    if not modality.tls:
        return None
    certificate, key = modality.client_certificate_file, modality.client_key_file
    return Tls(
        ca_file=modality.ca_file,
        client_certificate=(certificate, key) if certificate and key else None,
        minimum=modality.tls_minimum,
        name=modality.tls_name,
        check_name=modality.tls_check_name,
    )


def _peers(settings: Settings) -> dict[str, Destination]:
    return {name: Peer(name, Access.of(peer), compress=peer.compress) for name, peer in settings.peers.items()}


def _dicomweb(settings: Settings) -> dict[str, Destination]:
    return {name: DicomWeb(name, Access.of(server)) for name, server in settings.dicomweb.items()}


def _folders(settings: Settings) -> dict[str, Destination]:
    return {
        name: Folder(name, path=folder.path, template=folder.parsed, missing=folder.missing)
        for name, folder in settings.folders.items()
    }


_KINDS: Mapping[DestinationKind, Callable[[Settings], dict[str, Destination]]] = {
    "modality": _modalities,
    "peer": _peers,
    "dicomweb": _dicomweb,
    "folder": _folders,
}
