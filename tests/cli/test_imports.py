"""What a node imports before its doors open is what it needs: who starts it waits for the rest, too."""

import re
import subprocess
import sys

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from hostd import __version__
from hostd.cli import build, listing

_SAY = "print(*sorted({'requests', 'urllib3', 'rich', 'numpy', 'fastapi', 'jinja2', 'alembic'} & sys.modules.keys()))"


def imported(code):
    """Return which of those libraries a fresh interpreter has after that."""
    said = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; {_SAY}"], capture_output=True, check=True, text=True
    )
    return set(said.stdout.split())


def test_a_node_imports_no_client_and_no_server_of_http_before_it_needs_one():
    first = "from hostd.cli.imports import import_libraries; import_libraries(); import hostd.cli.run, hostd.node"
    assert not imported(first) & {"requests", "urllib3", "fastapi", "jinja2", "alembic"}


@pytest.mark.parametrize("library", ["requests", "rich"])
def test_what_was_left_out_while_libraries_were_imported_is_there_afterwards(library):
    code = f"from hostd.cli.imports import import_libraries; import_libraries(); import {library}"
    assert library in imported(code)


def test_the_list_of_commands_says_what_the_commands_say_of_themselves():
    shown = [CliRunner().invoke(app, ["--help"], terminal_width=300) for app in (listing(), build())]
    assert shown[0].stdout == shown[1].stdout
    assert len(shown[0].stdout.splitlines()) > 25


def _commands(group, name=()):
    for verb, command in group.commands.items():
        yield (*name, verb), command
        if isinstance(command, TyperGroup):
            yield from _commands(command, (*name, verb))


def test_no_help_loses_what_stands_in_brackets():
    app = build()
    named = 0
    for name, command in _commands(get_command(app)):
        written = [command.help or "", *(getattr(one, "help", None) or "" for one in command.params)]
        sections = re.findall(r"\\?(\[[\w.]+\])", " ".join(written))
        named += len(sections)
        if sections:
            shown = CliRunner().invoke(app, [*name, "--help"], terminal_width=300).stdout
            assert all(section in shown for section in sections), (name, sections)
    assert named >= 2


def test_the_list_of_commands_imports_none_of_them():
    code = "import hostd.cli; hostd.cli.listing(); print('pydicom' in sys.modules, 'hostd.cli.run' in sys.modules)"
    assert imported(code) == {"False"}


def test_the_version_is_told_by_the_list_of_commands_and_by_the_whole():
    told = [CliRunner().invoke(app, ["--version"]) for app in (listing(), build(), build("run"))]
    assert {(one.exit_code, one.stdout) for one in told} == {(0, f"hostd {__version__}\n")}
