"""`hostd config`: show the settings in force, check them, make a password hash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from hostd.config.hashing import hash_password, unhashed
from hostd.config.orthanc.draft import Note
from hostd.config.permissions import hindrance
from hostd.config.problems import InvalidConfigurationError, Loc, Problem, dotted
from hostd.config.settings import Loaded, load_with_origins
from hostd.editing import projects
from hostd.errors import ConfigurationError
from hostd.startup import startup_problems

app = typer.Typer(help="Show and check the configuration.", no_args_is_help=True)

ConfigPath = Annotated[
    Path | None,
    typer.Argument(
        metavar="[CONFIG]",
        help="The TOML file, or a configuration of Orthanc's; hostd.toml of this folder when it exists.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

DEFAULT_FILE = Path("hostd.toml")


@app.command()
def show(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Print every setting, its value (secrets masked), and where it comes from: default, file or environment."""
    try:
        loaded = load_with_origins(chosen(config), hashed=unhashed)
    except ConfigurationError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from None
    rows = [{"key": dotted(loc), "value": value, "origin": loaded.origin(loc)} for loc, value in _values(loaded)]
    if as_json:
        typer.echo(json.dumps({"file": str(loaded.file) if loaded.file else None, "settings": rows}, indent=2))
        return
    columns = [Column(name, overflow="fold") for name in ("setting", "value", "from")]  # what is cut cannot be checked
    table = Table(*columns, title=str(loaded.file or "no configuration file"), box=None)
    for row in rows:
        value = "" if row["value"] is None else json.dumps(row["value"], ensure_ascii=False)
        table.add_row(*(escape(str(cell)) for cell in (row["key"], value, row["origin"])))
    console = Console()
    if not console.is_terminal:
        console.width = 200
    console.print(table)


@app.command()
def check(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Say what is wrong with the configuration, all at one time. Exit code 0: nothing; 2: problems."""
    file = chosen(config)
    problems: list[Problem] = []
    notes: tuple[Note, ...] = ()
    try:
        loaded = load_with_origins(file, hashed=unhashed)
        settings, notes = loaded.settings, loaded.notes
        problems += map(loaded.in_its_words, startup_problems(settings))
        projects.configured(settings.projects)
    except InvalidConfigurationError as error:
        problems += error.problems
    except ConfigurationError as error:
        problems.append(Problem("", str(error)))
    if as_json:
        said = {"ok": not problems, "problems": [asdict(p) for p in problems]}
        if notes:
            said["notes"] = [asdict(note) for note in notes]
        typer.echo(json.dumps(said, indent=2, default=str))
    elif problems:
        for problem in problems:
            typer.echo(problem, err=True)
    else:
        for note in notes:
            typer.echo(f"{file}: {note}")
        besides = "; what is said above becomes of some options" if notes else ""
        typer.echo(f"{file or 'the defaults (no configuration file)'}: nothing is wrong{besides}")
    if problems:
        raise typer.Exit(2)


@app.command("hash-password")
def hash_password_command() -> None:
    r"""Ask for a password, and print the line for the user's table, `\[users.NAME]`."""
    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    typer.echo(f'password_hash = "{hash_password(password)}"')
    typer.echo('Paste it under [users.NAME], with role = "read", "write" or "admin".', err=True)


def chosen(config: Path | None) -> Path | None:
    """Return the configuration that was named, else hostd.toml of this folder when it exists.

    Raises `ConfigurationError` where this folder cannot be looked at.
    """
    if config is None and (fault := hindrance(DEFAULT_FILE)):
        raise ConfigurationError(f"{fault}, or name a configuration")
    return config or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)


def _values(loaded: Loaded) -> Iterator[tuple[Loc, Any]]:
    # pydantic's JSON form of a secret is a row of asterisks.
    for section, table in loaded.settings.model_dump(mode="json").items():
        if section in {
            "dicomweb",
            "folders",
            "modalities",
            "notify",
            "peers",
            "retention",
            "scripts",
            "sources",
            "users",
        }:
            for name, entry in table.items():
                yield from (((section, name, key), value) for key, value in entry.items())
        else:
            yield from (((section, key), value) for key, value in table.items())
