"""`/docs`: the routes as one page that loads nothing from anywhere, for hosts of patients' data have no Internet."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code { font-size: 0.95em; } h3 { margin: 1.5rem 0 0; } dl { margin: 0.3rem 0 0 1.5rem; } dd { margin-left: 1.5rem; }
"""
_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}


def docs_routes() -> APIRouter:
    """Return the route of the page."""
    router = APIRouter(tags=["system"])

    @router.get("/", summary="Go to the list of routes", status_code=301)
    def home() -> RedirectResponse:
        return RedirectResponse("docs", 301)

    @router.get("/docs", summary="Show this list of routes")
    def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(render(request.app.openapi()), headers=_HEADERS)

    return router


def render(schema: dict[str, Any]) -> str:
    """Return an OpenAPI description as a page for people."""
    title = escape(f"{schema['info']['title']} {schema['info']['version']}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>'
        f'<body><h1>{title}</h1><p>The same for machines: <a href="openapi.json">openapi.json</a></p>'
        f"{''.join(_operations(schema))}</body></html>"
    )


def _operations(schema: dict[str, Any]) -> Iterator[str]:
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            yield f"<h3><code>{escape(method.upper())} {escape(path)}</code></h3>"
            yield "".join(
                f"<p>{escape(operation[key])}</p>" for key in ("summary", "description") if operation.get(key)
            )
            parameters = [p for p in operation.get("parameters", ()) if p["in"] == "query"]
            if parameters:
                yield f"<dl>{''.join(map(_parameter, parameters))}</dl>"


def _parameter(parameter: dict[str, Any]) -> str:
    return f"<dt><code>?{escape(parameter['name'])}</code></dt><dd>{escape(parameter.get('description', ''))}</dd>"
