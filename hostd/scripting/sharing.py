"""The folder of scripts as several nodes have it: a change in the folder of one is an upload to all."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from hostd.archive import uploads
from hostd.archive.archive import Archive
from hostd.archive.uploads import Seen, Text
from hostd.scripting.folder import Source

_log = structlog.get_logger(__name__)


class Sharing:
    """Weighs this node's folder against what was uploaded last. All methods are called by one thread."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._news: dict[str, str] = {}
        """Script → hash of the text in this node's folder that is to be uploaded once it is accepted."""

    def as_all_have_it(self, sources: Mapping[str, Source]) -> dict[str, Source]:
        """Return the scripts that there are, on every node, with the texts that count; those of this folder that changed come first."""
        with self._archive.read() as connection:
            texts = uploads.texts(connection)
            seen = uploads.seen(connection, self._archive.node)
            ran = uploads.ran(connection)
        self._news.clear()
        whole: dict[str, Source] = {}
        for name in sorted(sources.keys() | texts.keys() | seen.keys()):
            source, text, known = sources.get(name), texts.get(name), seen.get(name)
            if source is None and known is not None and known.hash:
                self._withdraw(name)
                continue
            if source is not None and is_news(source.hash, text, known, has_run=(name, source.hash) in ran):
                self._news[name] = source.hash
                whole[name] = source
                continue
            if source is not None and known is None:
                self._note(name, Seen(source.hash, None))
                if text is None or text.hash != source.hash:
                    _log.warning("a script in this node's folder is older than what all nodes have", script=name)
            if text is not None:
                whole[name] = Source(name, text.source, text.hash, None, text.helpers)
        return whole

    def accepted(self, source: Source) -> None:
        """Upload a text of this node's folder that is news, now that it was found good."""
        if self._news.pop(source.name, None) != source.hash:
            return
        archive, text = self._archive, Text(source.hash, source.text, source.helpers)
        now = archive.clock.now()
        archive.writer.do(lambda c: uploads.upload(c, source.name, text, archive.node, now), topics=("script",))
        _log.info("a script of this node's folder is every node's now", script=source.name, version=source.hash[:12])

    def refused(self, source: Source) -> None:
        """Note that a text of this node's folder was found bad: it is shown until it changes, or another text is uploaded."""
        if self._news.get(source.name) == source.hash:
            with self._archive.read() as connection:
                text = uploads.texts(connection).get(source.name)
            self._note(source.name, Seen(source.hash, text.hash if text is not None else ""))

    def _withdraw(self, name: str) -> None:
        node = self._archive.node
        self._archive.writer.do(lambda c: uploads.withdraw(c, name, node), topics=("script",))
        _log.info("a script is gone from this node's folder, and so from every node", script=name)

    def _note(self, name: str, what: Seen) -> None:
        node = self._archive.node
        self._archive.writer.do(lambda c: uploads.note(c, node, name, what))


def is_news(file: str, text: Text | None, seen: Seen | None, *, has_run: bool) -> bool:
    """Tell whether the text of that hash in a node's folder is an upload. `seen` is what the node has dealt with, None before its first look.

    What ran before is no news to a node that looks for the first time: its folder is older than what all have. What was refused stays
    news, so that it is shown, while no other text was uploaded since.
    """
    if seen is None:
        return not has_run and (text is None or text.hash != file)
    if seen.hash == file:
        return seen.over is not None and seen.over == (text.hash if text is not None else "")
    return True
