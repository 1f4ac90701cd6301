"""The part of `host` that brings products into the archive."""

from __future__ import annotations

from hostd.sandbox import acts
from hostd.sandbox.granted import Granted, line, shown
from hostd.sandbox.levels import Level
from hostd.sandbox.run import Run
from hostd.sandbox.views import Handle, Instance


class Keeping(Granted):
    """What `host` has for products that are to be kept."""

    __slots__ = ()

    def store(self, handle: Handle) -> None:
        """Take a product into the archive, as an instance of its own: what `modify`, `anonymize`, `redact`, a tool or a lossy transcode makes.

        Needs the capability "store". It is done after the run, and ends in the open: `on_action_done` tells how, and if the product cannot
        be made nothing enters the archive. It comes in like anything else that arrives, but for filters and transcoding on ingest: a repeat
        changes nothing, and other content under the same identity is kept as `on_conflict` says. `instance.origin.kind` is "script". Its
        events are told to all other scripts, not to this one. Where `store` leads to `store`, it ends after `scripting.max_hops` hops.

        Raises `TypeError` for what is no handle, `NotAllowed` without the capability. A lossless transcode is the same instance, and fails
        the run: that is what `replace` is for.
        """
        index = self._product(handle, "store")
        self._need("store")
        self._run.add(acts.Store(index, line()))

    def replace(self, x: Instance | Level, handle: Handle) -> None:
        """Exchange the stored file of an instance for a lossless transcode of it; the former file is kept as a version.

        `handle` is what `transcode` returned for the same instance, or for the same series, study or patient, of which each instance is
        meant. Needs the capability "replace". It is done after the run, once a receipt proves that the image is the same, and only while
        the instance has the content that it had at the event; `on_action_done` tells how it ended. Where a lossless transcode cannot be
        made the file stays as it is.

        What has another content or identity replaces nothing: `store` keeps it beside the original.

        Raises `TypeError` for anything else, `NotAllowed` without the capability. A product that is no lossless transcode of `x` fails the
        run.
        """
        index = self._product(handle, "replace")
        if not isinstance(x, (Instance, Level)):
            raise TypeError(f"host.replace takes an instance, a series, study or patient, not {shown(x)}")
        if object.__getattribute__(x, "_run") is not self._run:
            raise RuntimeError("host.replace was given something of an earlier event")
        self._need("replace")
        self._run.add(acts.Replace(x.id, index, line()))

    def _product(self, handle: object, verb: str) -> int:
        self._run.check_open()
        if not isinstance(handle, Handle):
            raise TypeError(
                f"host.{verb} takes the handle of a product, as host.modify returns it, not {shown(handle)}"
            )
        run: Run = object.__getattribute__(handle, "_run")
        if run is not self._run:
            raise RuntimeError(f"host.{verb} was given something of an earlier event")
        return int(object.__getattribute__(handle, "_index"))
