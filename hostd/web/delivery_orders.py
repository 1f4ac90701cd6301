"""`POST /deliveries/{number}/hold` and its kin: what people decide of a delivery, recorded with who, when and why."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from hostd.archive import deliveries, delivery_orders
from hostd.archive.archive import Archive
from hostd.archive.delivery_orders import Matching, Order
from hostd.web.errors import BAD_PARAMETER_TYPE, DUPLICATE_RESOURCE, WebError, unknown_resource
from hostd.web.parameters import RowNumber
from hostd.web.records import with_history
from hostd.web.responses import JsonResponse

Why = Annotated[str, Query(description="Why, for the record.", max_length=1000)]

Reason = Annotated[str, Query(description="Why, for the record.", min_length=1, max_length=1000)]


def delivery_order_routes(archive: Archive, destinations: Callable[[], Collection[str]]) -> APIRouter:
    """Return the routes; `destinations` gives the names, as `kind:name`, that a delivery may be redirected to."""
    router = APIRouter(prefix="/deliveries", tags=["deliveries"])

    def decide(request: Request, number: int, verb: str, why: str, to: str | None = None) -> Response:
        order = _order(request, archive, destinations(), verb, why, to)
        with archive.read() as connection:
            if deliveries.get(connection, number) is None:
                raise unknown_resource()
        decided = archive.writer.do(
            lambda c: delivery_orders.decide(c, order, [number]), topics=("delivery",), urgent=True
        )
        if decided.left:
            raise WebError(409, DUPLICATE_RESOURCE, decided.left[number])
        with archive.read() as connection:
            return JsonResponse(with_history(connection, number) | ({"Redirected": decided.made[number]} if to else {}))

    @router.post("/{number}/retry", summary="Try a delivery again, at once")
    def retry(request: Request, number: RowNumber, why: Why = "") -> Response:
        return decide(request, number, "retry", why)

    @router.post("/{number}/hold", summary="Keep a delivery back until it is released")
    def hold(request: Request, number: RowNumber, why: Why = "") -> Response:
        return decide(request, number, "hold", why)

    @router.post("/{number}/release", summary="Let a delivery go on that was held")
    def release(request: Request, number: RowNumber, why: Why = "") -> Response:
        return decide(request, number, "release", why)

    @router.post("/{number}/discard", summary="Give a delivery up: it is never sent")
    def discard(request: Request, number: RowNumber, why: Reason) -> Response:
        return decide(request, number, "discard", why)

    @router.post("/{number}/redirect", summary="Send what a delivery is of to another destination instead")
    def redirect(
        request: Request,
        number: RowNumber,
        to: Annotated[str, Query(description="The destination, as `modality:x` or `peer:x`.")],
        why: Why = "",
    ) -> Response:
        return decide(request, number, "redirect", why, to)

    _add_route_of_many(router, archive, destinations)
    return router


def _add_route_of_many(router: APIRouter, archive: Archive, destinations: Callable[[], Collection[str]]) -> None:
    @router.post("/{verb}", summary="Decide of all deliveries that match")
    def decide_all(
        request: Request,
        verb: Literal["retry", "hold", "release", "redirect", "discard"],
        every: Annotated[Literal["true"], Query(alias="all", description="Must be there: all that match are meant.")],
        destination: Annotated[str | None, Query(description="Only those to it, as `modality:x` or `peer:x`.")] = None,
        reason: Annotated[str | None, Query(description="Only those whose last error has this in it.")] = None,
        study: Annotated[str | None, Query(description="Only those of this Study Instance UID.")] = None,
        limit: Annotated[int, Query(ge=1, le=10_000, description="How many at most, the oldest first.")] = 1000,
        why: Why = "",
        to: Annotated[str | None, Query(description="Of a redirect: where to, as `modality:x` or `peer:x`.")] = None,
    ) -> Response:
        assert every == "true"
        order = _order(request, archive, destinations(), verb, why, to)
        writes = partial(archive.writer.do, topics=("delivery",))
        wanted = Matching(destination, reason, study)
        decided = delivery_orders.decide_all(writes, order, wanted, limit=limit)
        return JsonResponse(
            {
                "Done": decided.done,
                "Left": [{"ID": number, "Reason": reason} for number, reason in decided.left.items()],
                "Redirected": [{"ID": old, "To": new} for old, new in decided.made.items()],
            }
        )


def _order(
    request: Request, archive: Archive, destinations: Collection[str], verb: str, why: str, to: str | None
) -> Order:
    """Return what a request decides. Raises `WebError`."""
    if (verb == "redirect") != (to is not None):
        raise WebError(400, BAD_PARAMETER_TYPE, "a redirect, and nothing else, says where to: `to`")
    if to is not None and to not in destinations:
        raise WebError(400, BAD_PARAMETER_TYPE, f"there is no destination {to!r}; write it as modality:x or peer:x")
    if verb == "discard" and not why:
        raise WebError(400, BAD_PARAMETER_TYPE, "say why, for the record: `why`")
    return Order(verb, request.state.username or "this machine", why, archive.clock.now(), to)
