"""`hostd config convert`: the hostd.toml that says what a configuration of Orthanc's says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hostd.cli.config import DEFAULT_FILE, app
from hostd.cli.looking import refuse
from hostd.config.orthanc.writing import written_out
from hostd.config.settings import load_with_origins


@app.command()
def convert(
    orthanc: Annotated[Path, typer.Argument(help="The configuration of Orthanc's: a JSON file, or a folder of them.")],
    to: Annotated[
        Path, typer.Option("--to", help="The file to write, which must not exist; -: standard output.")
    ] = DEFAULT_FILE,
) -> None:
    """Write the hostd.toml that says what a configuration of Orthanc's says. Exit code 1: there is one; nothing was written."""
    loaded = load_with_origins(orthanc)  # so that nothing is written that does not hold
    text = written_out(orthanc, os.environ)
    for note in loaded.notes:
        typer.echo(f"{orthanc}: {note}", err=True)
    if to == Path("-"):
        typer.echo(text, nl=False)
        return
    try:
        new = os.open(
            to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600
        )  # for its owner alone: passwords of peers may be in it
        with os.fdopen(new, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise refuse(f"{to} is there already, and is left as it is") from error
    except OSError as error:
        raise refuse(f"{to} cannot be written: {error.strerror}") from error
    typer.echo(f"written: {to}; next: look through it, then `hostd config check {to}` and `hostd run {to}`")


__all__ = ["app", "convert"]
