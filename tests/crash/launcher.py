"""Runs one node until SIGTERM, for tests: says "ready" when its doors are open, and can end itself with SIGKILL at a named point.

    python launcher.py CONFIG [--kill POINT COUNT RECORD] [--no-scripts] [--grace SECONDS] [--housekeeping SECONDS]
                              [--without STEP]...

POINT is one of `POINTS`, `DELETING_POINTS` or `ATTACHING_POINTS`; the process ends itself the COUNTth time it is reached, after writing the point's name to the file
RECORD. Everything is done from outside, by replacing functions in this process: hostd itself has no hook for it. `--without`
takes one of the steps away that must come before an answer (see `WITHOUT`), to show that a test notices.
"""

import argparse
import functools
import os
import signal
import sys
import threading
from pathlib import Path

from sqlalchemy import Engine, event
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

import hostd.jobs.housekeeping
import hostd.node
from hostd.archive import attachments, deliveries, plans, receipts, receiving, removal, retention
from hostd.archive.blobs import BlobFile, FolderBlobs
from hostd.cli import log
from hostd.config.settings import load
from hostd.delivery.destinations.modality import ModalitySession
from hostd.intake.intake import Intake
from hostd.scripting.runtime import ScriptWorker
from hostd.transcoding.pool import CodecPool

POINTS = (
    "file written",
    "file synced",
    "directory synced",
    "rows inserted",
    "received and committed, not answered",
    "script ran",
    "plan committed",
    "deliveries claimed",
    "transcoded, no receipt",
    "sent, not recorded",
    "delivery recorded",
    "collected, not unlinked",
)
DELETING_POINTS = (
    "a part of a patient is recycled, not committed",
    "a part of a patient is recycled",
    "some are deleted by age, not committed",
    "some are deleted by age",
)
"""Points that only a node with `[storage]`, or with `[retention]`, comes to."""
ATTACHING_POINTS = ("attachment changed, not committed", "attachment changed")
"""Points that only a node comes to whose clients attach files."""
WITHOUT = ("fsync of the file", "fsync of the directory", "commit", "synchronous=FULL")


class Executioner:
    """Counts how often the chosen point was reached, and ends the process there."""

    def __init__(self, point, count, record):
        self._point, self._left, self._record = point, count, record
        self._lock = threading.Lock()

    def reach(self, point):
        """Note that a point was reached."""
        if point != self._point:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._record.write_text(point)
                os.kill(os.getpid(), signal.SIGKILL)


def replace(owner, name, make):
    """Put another function in the place of one that must be there."""
    original = getattr(owner, name)
    setattr(owner, name, functools.wraps(original)(make(original)))


def before(owner, name, act):
    def make(original):
        def replaced(*args, **kwargs):
            act()
            return original(*args, **kwargs)

        return replaced

    replace(owner, name, make)


def after(owner, name, act, *, when=lambda *_: True):
    def make(original):
        def replaced(*args, **kwargs):
            result = original(*args, **kwargs)
            if when(result, *args):
                act()
            return result

        return replaced

    replace(owner, name, make)


def set_points(reach):
    """Put all points into this process."""
    done = threading.local()  # what the open transaction of a thread has done: a plain set of names

    def note(what):
        done.names = {*getattr(done, "names", ()), what}

    before(BlobFile, "seal", lambda: reach("file written"))
    after(BlobFile, "seal", lambda: reach("file synced"))
    after(FolderBlobs, "sync_directories", lambda: reach("directory synced"), when=lambda _result, _self, names: names)
    after(receiving, "take_in", lambda: note("received"), when=lambda outcome, *_: outcome == "stored")
    after(Intake, "_keep", lambda: reach("received and committed, not answered"))
    after(ScriptWorker, "run", lambda: reach("script ran"))
    after(plans, "enter", lambda: note("plan"))
    after(deliveries, "claim", lambda: note("claim"), when=lambda claimed, *_: claimed)
    after(deliveries, "finish_all", lambda: note("finish"), when=lambda ended, *_: ended)
    after(CodecPool, "transcode", lambda: reach("transcoded, no receipt"))
    after(ModalitySession, "send", lambda: reach("sent, not recorded"))
    after(removal, "collect", lambda: note("collected"), when=lambda names, *_: names)
    after(retention, "recycle", lambda: note("recycled"), when=lambda count, *_: count)
    after(retention, "expire", lambda: note("expired"), when=lambda count, *_: count)
    after(attachments, "put", lambda: note("attached"))
    after(attachments, "remove", lambda: note("attached"))
    assert receipts.keep  # transcodes without receipts would make a point meaningless

    def committing(original):
        def commit(self, connection):
            names, done.names = getattr(done, "names", set()), set()
            for name, point in (
                ("received", "rows inserted"),
                ("recycled", "a part of a patient is recycled, not committed"),
                ("expired", "some are deleted by age, not committed"),
                ("attached", "attachment changed, not committed"),
            ):
                if name in names:
                    reach(point)
            original(self, connection)
            for name, point in (
                ("plan", "plan committed"),
                ("claim", "deliveries claimed"),
                ("finish", "delivery recorded"),
                ("collected", "collected, not unlinked"),
                ("recycled", "a part of a patient is recycled"),
                ("expired", "some are deleted by age"),
                ("attached", "attachment changed"),
            ):
                if name in names:
                    reach(point)

        return commit

    for dialect in (SQLiteDialect_pysqlite, PGDialect_psycopg):
        replace(dialect, "do_commit", committing)


def leave_out(step):
    """Take away one of the steps that safety consists of."""
    if step == "fsync of the file":
        BlobFile.seal = lambda self: None
    elif step == "fsync of the directory":
        FolderBlobs.sync_directories = lambda self, names: None
    elif step == "commit":
        SQLiteDialect_pysqlite.do_commit = lambda self, connection: None
    elif step == "synchronous=FULL":
        event.listen(Engine, "begin", lambda connection: connection.exec_driver_sql("PRAGMA synchronous = OFF"))
    else:
        raise ValueError(step)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("--kill", nargs=3, metavar=("POINT", "COUNT", "RECORD"))
    parser.add_argument("--no-scripts", action="store_true")
    parser.add_argument("--grace", type=float)
    parser.add_argument("--housekeeping", type=float)
    parser.add_argument("--without", choices=WITHOUT, action="append", default=[])
    options = parser.parse_args()
    if options.kill:
        point, count, record = options.kill
        assert point in POINTS + DELETING_POINTS + ATTACHING_POINTS, point
        set_points(Executioner(point, int(count), Path(record)).reach)
    if options.grace is not None:
        assert hostd.node._STOP_GRACE_S > 0
        hostd.node._STOP_GRACE_S = options.grace
    if options.housekeeping is not None:
        assert hostd.jobs.housekeeping._EVERY_S > 0
        hostd.jobs.housekeeping._EVERY_S = options.housekeeping
    settings = load(options.config)
    log.configure(settings.log.format, settings.log.level)
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    node = hostd.node.Node(settings, run_scripts=not options.no_scripts)
    node.start()
    for step in options.without:
        leave_out(step)
    try:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        # In steps: under strace the kernel may give the signal to another thread, which does not wake this one.
        while not told.wait(0.2):
            pass
    finally:
        node.stop()


if __name__ == "__main__":
    main()
