"""`hostd transcode`: files and folders in another transfer syntax, by the engine that the node uses."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from hostd.cli.config import AsJson
from hostd.cli.looking import print_json, printable
from hostd.cli.signals import calling_on_stop
from hostd.transcoding.batch import Batch, rehearse
from hostd.transcoding.files import Outcome, Task, plan
from hostd.transcoding.public import Wanted, processors

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="IN... OUT",
        help="Files and folders to read, and the folder to write to; of one file also the file to write.",
        show_default=False,
    ),
]
To = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="SYNTAX",
        help="UID, keyword or short name, such as j2k; short names lose nothing.",
        show_default=False,
    ),
]
Quality = Annotated[int | None, typer.Option(min=1, max=100, help="How lossy: 1 to 100.", show_default=False)]
Ratio = Annotated[float | None, typer.Option(help="How lossy, JPEG 2000: 20 for 20:1.", show_default=False)]
Near = Annotated[
    int | None, typer.Option(help="How lossy, JPEG-LS: the largest error of a sample.", show_default=False)
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Codec processes; by default one a processor.", show_default=False)
]
Verify = Annotated[
    bool, typer.Option("--verify/--no-verify", help="Decode each result again, and compare it with its source.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done with each file; write nothing.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist already.")]

_BECAME = {
    "made": "transcoded", "copied": "copied, being in that syntax already", "would make": "would be transcoded",
    "would copy": "would be copied, being in that syntax already", "skipped": "skipped", "failed": "failed",
    "not done": "not done",
}  # fmt: skip
_TOLD = ("would make", "would copy", "skipped", "failed")


def transcode(
    paths: Paths,
    to: To,
    quality: Quality = None,
    ratio: Ratio = None,
    near: Near = None,
    workers: Workers = None,
    verify: Verify = True,
    dry_run: DryRun = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Bring DICOM files to another transfer syntax. Exit code 0: all done, 1: some failed, 2: nothing was begun.

    Folders are read with all that is in them, and their structure is kept. A file that is in that syntax already is copied.
    """
    began = time.monotonic()
    wanted = Wanted.parse(to, quality=quality, ratio=ratio, near=near)
    if len(paths) < 2:
        raise typer.BadParameter("name what to read, and then where to write")
    out = Path(paths[-1])
    todo = plan([Path(path) for path in paths[:-1]], out, is_folder=paths[-1].endswith("/"), overwrite=overwrite)
    outcomes = list(todo.settled)
    if dry_run:
        outcomes += _followed((rehearse(task, wanted) for task in todo.tasks), todo.tasks)
        was_stopped = False
    else:
        batch = Batch(wanted, workers=workers or processors(), verify=verify, overwrite=overwrite)
        with calling_on_stop(batch.stop):
            outcomes += _followed(batch.outcomes(todo.tasks), todo.tasks)
        was_stopped = batch.was_stopped()
    outcomes.sort(key=lambda outcome: outcome.source)
    summary = _summary(outcomes) | {
        "to": wanted.target.uid, "verified": verify and not dry_run, "dry_run": dry_run, "stopped": was_stopped,
        "seconds": round(time.monotonic() - began, 3),
    }  # fmt: skip
    if as_json:
        print_json({"files": [_as_json(outcome) for outcome in outcomes], "summary": summary})
    else:
        _print(outcomes, summary)
    if summary["failed"] or summary["not_done"]:
        raise typer.Exit(1)


def _followed(outcomes: Iterable[Outcome], tasks: Sequence[Task]) -> Iterator[Outcome]:
    """Yield the outcomes, and show on a terminal how far they are."""
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("transcoding", total=len(tasks))
        for outcome in outcomes:
            progress.advance(bar)
            yield outcome


def _summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    counts = Counter[str](outcome.became for outcome in outcomes)
    receipts = [outcome.receipt for outcome in outcomes if outcome.receipt]
    before, after = sum(r.bytes_before for r in receipts), sum(r.bytes_after for r in receipts)
    return {
        "found": len(outcomes),
        **{became.replace(" ", "_"): counts[became] for became in _BECAME},
        "bytes_before": before,
        "bytes_after": after,
        "ratio": round(before / after, 4) if after else None,
    }


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "source": _name(outcome.source),
        "result": None if outcome.result is None else _name(outcome.result),
        "became": outcome.became,
        "reason": outcome.reason or (outcome.receipt.reason if outcome.receipt else ""),
        "receipt": outcome.receipt and outcome.receipt.to_dict(),
    }


def _name(path: Path) -> str:
    """Return a path as text that can be printed: bytes of it that are no UTF-8 are written out."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _print(outcomes: Sequence[Outcome], summary: dict[str, Any]) -> None:
    for outcome in outcomes:
        if outcome.became in _TOLD:
            line = f"{outcome.became}: {outcome.source}"
            line += f" → {outcome.result}: " if outcome.became.startswith("would") else ": "
            typer.echo(printable(line + outcome.reason), err=not outcome.became.startswith("would"))
    if summary["stopped"]:
        typer.echo("stopped: what was transcoded or copied is whole, and of the rest there is nothing", err=True)
    counted = [f"{summary[became.replace(' ', '_')]:,} {words}" for became, words in _BECAME.items()
               if summary[became.replace(" ", "_")]]  # fmt: skip
    typer.echo(f"{summary['found']:,} found: {'; '.join(counted)}" if counted else "no file was found")
    if summary["ratio"] is not None:
        typer.echo(
            f"{summary['bytes_before']:,} bytes became {summary['bytes_after']:,}, ratio {summary['ratio']:.2f}, "
            f"in {summary['seconds']:.1f} s" + ("" if summary["verified"] else "; not verified, as asked")
        )
