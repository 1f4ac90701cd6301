"""Which files a person means, and where the result of each goes. Decided before anything is done."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hostd.errors import HostdError
from hostd.transcoding.receipt import Receipt

Became = Literal["made", "copied", "would make", "would copy", "skipped", "failed", "not done"]


class UsageError(HostdError):
    """What was asked for makes no sense as a whole; nothing was done."""


@dataclass(frozen=True, slots=True)
class Task:
    """One file and the place of its result."""

    source: Path
    result: Path
    is_named: bool = False
    """Whether it was named itself, rather than found in a folder."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file, or of a folder that could not be read."""

    source: Path
    became: Became
    reason: str = ""
    """Why it was skipped or failed, or what would be done; empty where the receipt says it."""
    result: Path | None = None
    receipt: Receipt | None = None


@dataclass(slots=True)
class Plan:
    """What is to be done, and what is settled already because it cannot be done."""

    tasks: list[Task] = field(default_factory=list)
    settled: list[Outcome] = field(default_factory=list)


def plan(inputs: Sequence[Path], out: Path, *, is_folder: bool, overwrite: bool) -> Plan:
    """Find the files, and say where the result of each goes.

    `out` is a folder when there are several inputs, when the input or `out` itself is one, or with `is_folder`; what lies in a
    folder keeps its place in it below `out`. Raises `UsageError`.
    """
    for each in inputs:
        if not os.path.lexists(each):
            raise UsageError(f"{each} is not there")
        if each.is_dir() and out.exists() and out.samefile(each):
            raise UsageError(f"{out} is the folder to read: results never replace what they are made of; name another")
    is_folder = is_folder or len(inputs) > 1 or inputs[0].is_dir() or out.is_dir()
    if is_folder and out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file, and results need a folder here; name another")
    made = Plan()
    found: list[Task] = []
    for each in inputs:
        if each.is_dir():
            found += (Task(each / below, out / below) for below in _walk(each, out, made.settled.append))
        elif _may_be_read(each, made.settled.append, is_named=True):
            found.append(Task(each, out / each.name if is_folder else out, is_named=True))
    _settle(found, made, overwrite=overwrite)
    return made


def _walk(top: Path, out: Path, settle: Callable[[Outcome], None]) -> Iterator[Path]:
    """Yield the files below a folder, each folder once however many links lead to it; never those below `out`."""
    results = _identity(out)
    seen: dict[tuple[int, int], Path] = {}
    waiting = [Path()]
    while waiting:
        folder = waiting.pop()
        here = top / folder
        try:
            about = here.stat()
            identity = about.st_dev, about.st_ino
            if identity == results:
                settle(Outcome(here, "skipped", "the results go there"))
                continue
            if identity in seen:
                settle(Outcome(here, "skipped", f"a link to the folder {seen[identity]}, which is read already"))
                continue
            seen[identity] = here
            with os.scandir(here) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError as error:
            settle(Outcome(here, "failed", f"the folder cannot be read: {error.strerror}"))
            continue
        folders = []
        for name in names:
            if (here / name).is_dir():
                folders.append(folder / name)
            elif _may_be_read(here / name, settle):
                yield folder / name
        waiting += reversed(folders)


def _may_be_read(path: Path, settle: Callable[[Outcome], None], *, is_named: bool = False) -> bool:
    """Tell whether this is a file that ends; of what is none, say so."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        what = "the link leads nowhere" if path.is_symlink() else "it cannot be read"
        settle(Outcome(path, "failed", f"{what}: {error.strerror}"))
        return False
    if not stat.S_ISREG(mode):
        settle(Outcome(path, "failed" if is_named else "skipped", "it is neither a file nor a folder"))
        return False
    return True


def _settle(found: Sequence[Task], made: Plan, *, overwrite: bool) -> None:
    """Sort out the tasks whose results would be in the way of others."""
    inputs = {_identity(task.source) for task in found}
    taken: dict[Path, Path] = {}
    for task in found:
        place = task.result.absolute()
        existing = _identity(task.result)
        if place in taken:
            if _identity(taken[place]) == _identity(task.source):
                continue  # the same file, named twice
            reason = f"its result would be {task.result}, as that of {taken[place]}; give them folders of their own"
        elif existing is not None and existing in inputs:
            reason = f"its result {task.result} is one of the files to read, and results never replace those"
        elif os.path.lexists(task.result) and not overwrite:
            reason = exists_already(task.result)
        else:
            taken[place] = task.source
            made.tasks.append(task)
            continue
        made.settled.append(Outcome(task.source, "failed", reason, task.result))


def exists_already(result: Path) -> str:
    """Say why nothing is written there."""
    return f"{result} exists already; --overwrite replaces it"


def _identity(path: Path) -> tuple[int, int] | None:
    """Return which file or folder it is, whatever its name; None when there is none, or it cannot be told."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino
