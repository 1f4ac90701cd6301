"""Which codec does what: finds the files of `codecs/` and asks them. Adding a codec is adding a file there."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from importlib import metadata
from typing import cast

from hostd.dicom.syntaxes import TransferSyntax
from hostd.transcoding import codecs
from hostd.transcoding.codecs import Ability, Codec


@cache
def installed() -> tuple[Codec, ...]:
    """Return the codecs whose library is installed. None of the libraries is loaded by this."""
    return tuple(codec for codec in _all() if _version(codec.NAME) is not None)


@cache
def missing() -> tuple[Codec, ...]:
    """Return the codecs whose library is not installed; their `REQUIRES` says what to install."""
    return tuple(codec for codec in _all() if _version(codec.NAME) is None)


def encoders(syntax: TransferSyntax) -> list[Codec]:
    """Return the codecs that can encode that syntax, the preferred one first; none where nothing reads it as a stranger would."""
    return _able(syntax, lambda ability: ability.encode) if decoders(syntax) else []


def decoders(syntax: TransferSyntax) -> list[Codec]:
    """Return the codecs that can decode what others wrote in that syntax, the preferred one first."""
    return _able(syntax, lambda ability: ability.decode and not ability.own_only)


def verifiers(syntax: TransferSyntax) -> list[Codec]:
    """Return the codecs that can decode what hostd wrote in that syntax, the preferred one first."""
    return _able(syntax, lambda ability: ability.decode)


def version(codec: Codec) -> str:
    """Return the installed version of a codec's library."""
    return _version(codec.NAME) or "not installed"


def what_to_install(syntax: TransferSyntax) -> str:
    """Return what would have to be installed for that syntax; empty when no codec of hostd's does it."""
    wanted = [codec.REQUIRES for codec in missing() if syntax in codec.SYNTAXES]
    wanted += [codec.LACKS[syntax] for codec in installed() if syntax in codec.LACKS]
    return " or ".join(dict.fromkeys(wanted))


def _able(syntax: TransferSyntax, wanted: Callable[[Ability], bool]) -> list[Codec]:
    able = [codec for codec in installed() if syntax in codec.SYNTAXES and wanted(codec.SYNTAXES[syntax])]
    return sorted(able, key=lambda codec: codec.SYNTAXES[syntax].order)


@cache
def _all() -> tuple[Codec, ...]:
    names = sorted(module.name for module in pkgutil.iter_modules(codecs.__path__) if not module.name.startswith("_"))
    return tuple(cast("Codec", importlib.import_module(f"{codecs.__name__}.{name}")) for name in names)


@cache
def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
