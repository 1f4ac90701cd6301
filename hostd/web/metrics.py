"""`/metrics` and Orthanc's like: figures for Prometheus, worked out from the index when they are asked for. Nothing in them is of a patient."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import PlainTextResponse, Response

from hostd.archive import attachments, backlog, events, figures, holding, instances
from hostd.archive.archive import Archive
from hostd.web.errors import NOT_IMPLEMENTED, WebError
from hostd.web.fields import flag

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MIB = 1 << 20


def metric_routes(archive: Archive, destinations: Callable[[], Collection[str]]) -> APIRouter:
    """Return the routes of metrics; `destinations` gives the names of those that are configured, as `kind:name`."""
    router = APIRouter(tags=["system"])
    registry, with_orthancs = CollectorRegistry(auto_describe=False), CollectorRegistry(auto_describe=False)
    registry.register(_Index(archive, destinations))
    with_orthancs.register(_OrthancsNames(archive))
    with_orthancs.register(_Index(archive, destinations))

    @router.get("/metrics", summary="Figures for Prometheus")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE)

    @router.get("/tools/metrics-prometheus", summary="Figures for Prometheus, some of them under Orthanc's names")
    def orthancs_metrics() -> Response:
        return Response(generate_latest(with_orthancs), media_type=CONTENT_TYPE)

    @router.get("/tools/metrics", summary="Tell whether there are figures: 1, always")
    def are_there() -> Response:
        return PlainTextResponse("1")

    @router.put("/tools/metrics", summary="Take 1: there are figures, always")
    async def be_there(request: Request) -> Response:
        if not await flag(request):
            raise WebError(501, NOT_IMPLEMENTED, "figures are worked out when they are asked for, and never off")
        return PlainTextResponse("")

    return router


class _OrthancsNames(Collector):
    """What Orthanc counts and hostd does, too; with the time, by which Orthanc's clients tell a figure."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        now = self._archive.clock.now()
        with self._archive.read() as connection:
            held = instances.statistics(connection)
            attached = attachments.room(connection)
        for name, value in (
            ("count_instances", held.instances),
            ("count_patients", held.patients),
            ("count_series", held.series),
            ("count_studies", held.studies),
            ("disk_size_mb", (held.size + attached.stored) / _MIB),
            ("uncompressed_size_mb", (held.size + attached.attached) / _MIB),
        ):
            figure = GaugeMetricFamily(f"orthanc_{name}", "As Orthanc's.", labels=())
            figure.add_metric((), value, timestamp=now)
            yield figure


class _Index(Collector):
    """Reads the index at each scrape, so that no number is kept anywhere else, and none is lost at a restart."""

    def __init__(self, archive: Archive, destinations: Callable[[], Collection[str]]) -> None:
        self._archive = archive
        self._destinations = destinations

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        now = self._archive.clock.now()
        with self._archive.read() as connection:
            standings = backlog.standings(connection, tuple(self._destinations()), now)
            counted = figures.totals(connection)
            stored = instances.count(connection)
            last = events.last_number(connection)
            held = holding.held(connection)
        yield GaugeMetricFamily("hostd_instances", "Instances that are stored.", value=stored)
        yield CounterMetricFamily("hostd_events", "Events since the index was made.", value=last)
        yield GaugeMetricFamily(
            "hostd_stored_bytes", "Bytes of the files that count for storage.max_size_mb.", value=held.size
        )
        yield GaugeMetricFamily("hostd_patients", "Patients that are stored.", value=held.patients)
        for name, what, value in (
            ("recycled_patients", "Patients that were deleted to make room.", held.recycled_patients),
            ("recycled_instances", "Instances that were deleted to make room.", held.recycled_instances),
            ("refused_instances", "Instances that were refused, since [storage] allows no more.", held.refused),
        ):
            yield CounterMetricFamily(f"hostd_{name}", what, value=value)
        free = shutil.disk_usage(self._archive.data).free
        yield GaugeMetricFamily("hostd_disk_free_bytes", "Bytes free for the data folder.", value=free)
        waiting = GaugeMetricFamily("hostd_deliveries", "Deliveries by state.", labels=("destination", "state"))
        oldest = GaugeMetricFamily(
            "hostd_delivery_oldest_seconds", "Age of the oldest delivery that is not done.", labels=("destination",)
        )
        works = GaugeMetricFamily(
            "hostd_destination_up", "1, or 0 while it fails and its queue is held.", labels=("destination",)
        )
        for one in standings:
            for state, count in sorted(one.states.items()):
                waiting.add_metric((one.name, state), count)
            oldest.add_metric((one.name,), 0 if one.oldest_at is None else max(0.0, now - one.oldest_at))
            works.add_metric((one.name,), int(one.failing_since is None))
        yield from (waiting, oldest, works)
        attempts = CounterMetricFamily(
            "hostd_delivery_attempts", "Attempts by outcome.", labels=("destination", "outcome")
        )
        size = CounterMetricFamily(
            "hostd_delivered_bytes", "Bytes of files that were delivered.", labels=("destination",)
        )
        arrived: dict[str, int] = {}
        for figure in counted:
            attempts.add_metric((figure.destination, figure.outcome), figure.attempts)
            if figure.outcome in figures.SENT:
                arrived[figure.destination] = arrived.get(figure.destination, 0) + figure.size
        for name, total in arrived.items():
            size.add_metric((name,), total)
        yield from (attempts, size)
