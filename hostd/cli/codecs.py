"""`hostd codecs`: what this installation decodes and encodes, by which library, and what to install for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from hostd.cli.config import AsJson
from hostd.cli.looking import Config, print_json, print_table, settings_of
from hostd.dicom.syntaxes import ALL, EXPLICIT_BE, TransferSyntax
from hostd.transcoding import registry
from hostd.transcoding.codecs import Codec
from hostd.transcoding.source import NATIVE
from hostd.transcoding.tool import Tool, configured

_ROOT = "1.2.840.10008.1.2"
_COLUMNS = ("transfer syntax", "UID", "decoded by", "encoded by", "without loss", "to install for more")
_OF_TOOLS = ("tool", "makes", "version", "command")


def codecs(config: Config = None, as_json: AsJson = False) -> None:
    """List the transfer syntaxes, with what decodes and encodes each here. What nothing decodes is kept and forwarded as it is.

    The external tools of the configuration are listed too.
    """
    tools = tuple(configured(settings_of(config).tools).values())
    found = [facts(syntax, tools) for syntax in ALL]
    if as_json:
        print_json(found)
        return
    able = [row for row in found if row["decode"] or row["encode"]]
    print_table(_COLUMNS, map(_cells, able), empty="no transfer syntax is known")
    others = ", ".join(row["uid"].removeprefix(_ROOT) for row in found if row not in able)
    if tools:
        typer.echo()
        print_table(_OF_TOOLS, map(_tool_cells, tools), empty="")
    typer.echo(f"\nKept and forwarded as they are: {_ROOT} with {others}, and those that hostd does not know.")


def facts(syntax: TransferSyntax, tools: Sequence[Tool] = ()) -> dict[str, Any]:
    """Return one row: libraries with their versions, the preferred one first, then `tool:NAME`; `hostd` where none is needed."""
    own = {"library": "hostd", "version": ""}
    return {
        "uid": syntax.uid,
        "keyword": syntax.keyword,
        "name": syntax.name,
        "short": syntax.short,
        "lossless": not syntax.is_lossy,
        "decode": ([own] if syntax in (*NATIVE, EXPLICIT_BE) else _libraries(registry.decoders(syntax)))
        + [_as_library(tool) for tool in tools if tool.decodes and syntax in tool.decodes],
        "encode": ([own] if syntax in NATIVE else _libraries(registry.encoders(syntax)))
        + [_as_library(tool) for tool in tools if syntax in tool.encodes],
        "install": registry.what_to_install(syntax),
    }


def _libraries(able: list[Codec]) -> list[dict[str, str]]:
    return [{"library": codec.NAME, "version": registry.version(codec)} for codec in able]


def _as_library(tool: Tool) -> dict[str, str]:
    return {"library": f"tool:{tool.name}", "version": tool.version() if tool.is_there else "not there"}


def _tool_cells(tool: Tool) -> list[object]:
    makes = ", ".join(str(syntax) for syntax in tool.encodes) or "for scripts only"
    return [tool.name, makes, tool.version() if tool.is_there else tool.missing, " ".join(tool.command)]


def _cells(row: dict[str, Any]) -> list[object]:
    by = [
        ", ".join(f"{codec['library']} {codec['version']}".strip() for codec in row[what]) or "-"
        for what in ("decode", "encode")
    ]
    name = f"{row['name']} ({row['short']})" if row["short"] else row["name"]
    return [name, row["uid"], *by, "yes" if row["lossless"] else "no", row["install"]]
