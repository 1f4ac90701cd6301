"""Many files at once, each for itself: what `hostd transcode` does."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from hostd.dicom import part10
from hostd.dicom.syntaxes import by_uid
from hostd.errors import HostdError, NoDicomFileError, UnparsableError
from hostd.transcoding.files import Became, Outcome, Task, exists_already
from hostd.transcoding.placing import make_folder, placed
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.public import Wanted, already_there, bring, in_words
from hostd.transcoding.transcode import foresee

_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage (PS3.3 Annex F): a DICOMDIR."""
_STOPPED = "stopped before it was done"


class Batch:
    """Does tasks in up to `workers` codec processes; `stop` may be called from any thread."""

    def __init__(self, wanted: Wanted, *, workers: int, verify: bool = True, overwrite: bool = False) -> None:
        self._wanted = wanted
        self._workers = workers
        self._verify = verify
        self._overwrite = overwrite
        self._pool = CodecPool(workers=workers)
        self._stopped = threading.Event()

    def was_stopped(self) -> bool:
        """Tell whether it was told to stop."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End what is going on, leaving no half result, and begin nothing more."""
        self._stopped.set()
        self._pool.close()

    def outcomes(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Do the tasks, and yield what became of each as it is done. No task fails another."""
        try:
            with ThreadPoolExecutor(self._workers) as threads:
                for done in as_completed([threads.submit(self._do, task) for task in tasks]):
                    yield done.result()
        finally:
            self._pool.close()

    def _do(self, task: Task) -> Outcome:
        if self.was_stopped():
            return Outcome(task.source, "not done", _STOPPED)
        try:
            settled = _no_image(task)
            if settled is not None:
                return settled
            make_folder(task.result.parent)
            with placed(task.result, like=task.source, overwrite=self._overwrite) as spare:
                receipt = bring(
                    task.source, self._wanted, spare, self._pool,
                    verify=self._verify, go_on=lambda: not self.was_stopped(),
                )  # fmt: skip
        except (HostdError, OSError) as error:
            if self.was_stopped():
                return Outcome(task.source, "not done", _STOPPED)
            # Somebody else may have taken the name since the plan was made.
            is_taken = isinstance(error, FileExistsError) and os.path.lexists(task.result)
            reason = exists_already(task.result) if is_taken else in_words(error)
            return Outcome(task.source, "failed", reason, task.result)
        became: Became = "made" if receipt.outcome == "made" else "copied"
        return Outcome(task.source, became, result=task.result, receipt=receipt)


def rehearse(task: Task, wanted: Wanted) -> Outcome:
    """Say from its header what would be done with a file. Nothing is written, and no codec is asked."""
    try:
        settled = _no_image(task)
        if settled is not None:
            return settled
        with task.source.open("rb") as file:
            syntax = by_uid(part10.data_set_offset(file).transfer_syntax_uid)
            if syntax == wanted.target:
                return Outcome(task.source, "would copy", already_there(syntax), task.result)
            how = foresee(file, wanted.target, wanted.options)
    except (HostdError, OSError) as error:
        return Outcome(task.source, "failed", in_words(error), task.result)
    return Outcome(task.source, "would make", f"from {syntax} to {wanted.target}: {how}", task.result)


def _no_image(task: Task) -> Outcome | None:
    """Return the outcome of a file that is not transcoded because of what it is. One that was named itself is a failure."""
    became: Became = "failed" if task.is_named else "skipped"
    with task.source.open("rb") as file:
        try:
            sop_class = part10.data_set_offset(file).meta.get(part10.META_CLASS)
        except NoDicomFileError as error:
            return Outcome(task.source, became, str(error))
        except UnparsableError as error:
            return Outcome(task.source, "failed", str(error))
    if sop_class == _DIRECTORY_CLASS:
        return Outcome(task.source, became, "a DICOMDIR lists files as they are; make a new one of the results")
    return None
