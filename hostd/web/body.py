"""Small bodies of requests, read whole."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.requests import ClientDisconnect

from hostd.web.errors import BAD_REQUEST, TIMEOUT, WebError, bad_request

_PATIENCE_S = 60.0


async def small_body(request: Request, max_bytes: int) -> bytes:
    """Return the body of a request. Raises `WebError` for one of more than `max_bytes`, or that does not come."""
    body = bytearray()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            async for piece in request.stream():
                body += piece
                if len(body) > max_bytes:
                    raise WebError(413, BAD_REQUEST, f"the body is larger than {max_bytes} bytes")
    except TimeoutError as error:
        raise WebError(408, TIMEOUT, f"the body did not come within {_PATIENCE_S:g} seconds") from error
    except ClientDisconnect as error:
        raise bad_request("the connection was closed before the whole body had arrived") from error
    return bytes(body)
