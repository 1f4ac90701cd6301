"""Measuring in turns: every round has each server from nothing, every other round in reverse order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ingest.servers import TranscodingHostd, TranscodingOrthanc, UnverifiedHostd, gdcm_plugin
from benchmarks.receive.rounds import Sample, send
from hostd.dicom.syntaxes import HTJ2K_LOSSLESS_RPCL, JPEG2000_LOSSLESS, JPEG_LOSSLESS_SV1, TransferSyntax
from hostd.transcoding import registry

SYNTAXES = (JPEG_LOSSLESS_SV1, JPEG2000_LOSSLESS, HTJ2K_LOSSLESS_RPCL)
HOSTD, UNVERIFIED, ORTHANC = "hostd", "hostd, not verified", "Orthanc"
PLAIN, LATER = "as received", "ack_budget_s = 0"


@dataclass(frozen=True, slots=True)
class Case:
    """Instances that are brought to one transfer syntax, over so many associations at once."""

    syntax: TransferSyntax
    associations: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Samples of each case and server; and of a sender that need not wait for transcodes, beside one to a node without any."""

    cells: dict[tuple[Case, str], list[Sample]]
    budget: dict[str, list[Sample]]


def measured(
    folder: Path,
    folders: dict[int, list[Path]],
    later: Path,
    warm: Sequence[Path],
    rounds: int,
    say: Callable[[str], None],
    *,
    with_orthanc: bool,
) -> Measured:
    """Measure all cases; `folders` has the files by associations, `later` those of the sender that need not wait, `warm` what each server is sent before.

    Raises `RuntimeError` when not all is stored as it is to be.
    """
    cases = [Case(syntax, count) for syntax in SYNTAXES if registry.encoders(syntax) for count in folders]
    cells: dict[tuple[Case, str], list[Sample]] = {}
    budget: dict[str, list[Sample]] = {PLAIN: [], LATER: []}
    for number in range(rounds):
        for case in cases:
            kinds = _kinds(case.syntax, with_orthanc=with_orthanc)
            for kind in kinds if number % 2 == 0 else kinds[::-1]:
                sample = _turn(kind(folder / "server", case.syntax), folders[case.associations], warm)
                cells.setdefault((case, kind.name), []).append(sample)
                say(
                    f"round {number + 1}, {case.syntax.name}, {case.associations} associations, {kind.name}: {sample.rate:.1f}/s"
                )
        for name in (PLAIN, LATER) if number % 2 == 0 else (LATER, PLAIN):
            target = JPEG2000_LOSSLESS if name == LATER else None
            sample = _turn(TranscodingHostd(folder / "server", target, ack_budget_s=0), [later], warm)
            budget[name].append(sample)
            say(f"round {number + 1}, {name}: {sample.rate:.1f}/s")
    return Measured(cells, budget)


def _kinds(syntax: TransferSyntax, *, with_orthanc: bool) -> list[type[TranscodingHostd | TranscodingOrthanc]]:
    is_known = syntax == JPEG_LOSSLESS_SV1 or (syntax == JPEG2000_LOSSLESS and gdcm_plugin() is not None)
    return [TranscodingHostd, UnverifiedHostd, *([TranscodingOrthanc] if with_orthanc and is_known else [])]


def _turn(server: TranscodingHostd | TranscodingOrthanc, folders: Sequence[Path], warm: Sequence[Path]) -> Sample:
    try:
        before = send(warm, server).instances
        if server.transcoded() != before:
            raise RuntimeError(f"{server.name} does not bring what comes to the transfer syntax that it is to have")
        sample = send(folders, server)
        expected, transcoded, stored = before + sample.instances, server.transcoded(), server.stored()
    finally:
        server.stop()
    if transcoded != expected or stored != expected:
        raise RuntimeError(
            f"{server.name} holds {stored} of {expected} instances, {transcoded} of them as they are to be"
        )
    return sample
