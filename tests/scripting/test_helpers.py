"""A user's own modules in scripts/lib/: versions, edits, and what is said when they are broken."""

import pytest
import sqlalchemy as sa
from scripts_kit import FORWARD, handler
from typer.testing import CliRunner

from hostd.archive import scripts
from hostd.archive import tables as t
from hostd.cli import build
from hostd.config.permissions import refuse_writable_by_others
from hostd.config.sections import Script
from hostd.scripting.folder import read_source, scan
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.runtime import RefusedScriptError, ScriptWorker

USER = "from lib.rules import word\n" + handler("print(word())")
RULES = "def word():\n    return 'one'\n"


@pytest.fixture
def lib(bench):
    folder = bench.folder / "lib"
    folder.mkdir()
    return folder


def start(source, **helpers):
    worker = ScriptWorker.start(load_frame("a.py", source, Script(), Names(), str, helpers=helpers))
    worker.stop()
    return worker.ready


def running(bench, name):
    with bench.archive.read() as connection:
        known = scripts.find(connection, name)
        return scripts.get_version(connection, name, known.version) if known and known.state == "running" else None


# -- importing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "from lib.rules import word\nprint(word())",
        "from lib.rules import word as w\nprint(w())",
        "from lib import rules\nprint(rules.word())",
        "from lib import (  # mine\n    rules as r,\n)\nprint(r.word())",
        "import lib.rules\nprint(lib.rules.word())",
        "import lib.rules as r\nprint(r.word())",
        "def f():\n    from lib.rules import word\n    return word()\nprint(f())",
        "from lib.other import word\nprint(word())",
    ],
)
def test_a_helper_is_imported_in_every_way_that_python_has(source):
    assert start(source, rules=RULES, other="from lib.rules import word").log == [("info", "one")]


def test_a_helper_runs_once_and_its_globals_are_shared_by_the_files_of_one_script():
    rules = "print('loaded')\nseen = []\ndef add(x):\n    global count\n    seen.append(x)\n    count = len(seen)\ncount = 0\n"
    other = "from lib import rules\nrules.add(1)\n"
    ready = start(
        "import lib.other\nfrom lib import rules\nrules.add(2)\nprint(rules.seen, rules.count)",
        rules=rules,
        other=other,
    )
    assert [text for _, text in ready.log] == ["loaded", "[1, 2] 2"]


REFUSED = {
    "from lib.rulez import word": "line 1: there is no lib/rulez.py in the scripts folder",
    "import lib": "say which of your own modules: `import lib.rules`",
    "from lib.rules import nothing": "line 1: lib/rules.py has no `nothing`",
    "from .lib.rules import word": "imports have no dots here",
    "from lib.rules import *": '"*" imports are not allowed',
    "import lib.broken": "lib/broken.py line 2: syntax error",
    "import lib.unsafe": "lib/unsafe.py line 1: module `os` is not offered",
    "import lib.fails": "lib/fails.py line 2: the script failed while it was loaded: ZeroDivisionError",
    "import lib.a": "lib/b.py line 1: these import one another: lib/a.py → lib/b.py → lib/a.py",
    "from lib.rules import word\nimport lib.rules\nlib.rules.word = 3": "line 3: the script failed while it was loaded: TypeError",
    "import lib.rules\nlib.rules.seen['__builtins__']": "line 2: the script failed while it was loaded: AttributeError",
}  # fmt: skip


@pytest.mark.parametrize(("source", "says"), REFUSED.items(), ids=REFUSED)
def test_what_cannot_be_imported_is_refused_with_file_and_line(source, says):
    helpers = {
        "rules": RULES, "broken": "x = 1\ndef f(:", "unsafe": "import os", "fails": "def f():\n    return 1 / 0\nf()",
        "a": "import lib.b", "b": "from lib import a",
    }  # fmt: skip
    if "rules" in source:
        helpers = {"rules": RULES}
    with pytest.raises(RefusedScriptError) as refused:
        start(source, **helpers)
    assert says in str(refused.value)


def test_a_helper_sees_no_guard_of_its_own_module_and_shows_none():
    for name in ("__builtins__", "_getattr_", "__name__", "__metaclass__"):
        source = f"from lib import rules\nprint(getattr(rules, '{name}', 'hidden'))"
        with pytest.raises(RefusedScriptError):
            start(source.replace(f"getattr(rules, '{name}', 'hidden')", f"rules.{name}"), rules=RULES)
        assert start(source, rules=RULES).log == [("info", "hidden")]


def test_a_run_that_fails_in_a_helper_names_its_file_and_line(bench, lib):
    (lib / "rules.py").write_text("def word():\n    return 1 / 0\n")
    bench.attempts = 1
    bench.start()
    bench.write("a.py", USER)
    bench.until(lambda: running(bench, "a.py"))
    bench.arrive()
    (run,) = bench.until(lambda: bench.rows(t.run))
    assert run.error == "ZeroDivisionError: division by zero (lib/rules.py line 2)"


# -- versions ---------------------------------------------------------------------------------------------------------


def test_an_edit_of_a_helper_is_a_new_version_of_every_script_that_uses_it(bench, lib):
    (lib / "rules.py").write_text(RULES)
    (lib / "between.py").write_text("from lib.rules import word\n")
    bench.write("direct.py", USER)
    bench.write("through.py", USER.replace("lib.rules", "lib.between"))
    bench.write("apart.py", FORWARD)
    bench.start()
    before = {name: bench.until(lambda n=name: running(bench, n)) for name in ("direct.py", "through.py", "apart.py")}
    bench.arrive()
    bench.until(lambda: sorted(bench.logged()) == ["one", "one"])
    (lib / "rules.py").write_text(RULES.replace("one", "two"))
    for name in ("direct.py", "through.py"):
        bench.until(lambda n=name: running(bench, n).hash != before[n].hash)
    bench.arrive()
    bench.until(lambda: sorted(bench.logged()) == ["one", "one", "two", "two"])
    assert running(bench, "apart.py") == before["apart.py"]


def test_every_version_is_kept_with_the_sources_of_its_helpers(bench, lib):
    (lib / "rules.py").write_text(RULES)
    (lib / "unused.py").write_text("x = 1\n")
    bench.write("a.py", USER)
    bench.start()
    first = bench.until(lambda: running(bench, "a.py"))
    assert first.helpers == {"rules": RULES}
    (lib / "rules.py").write_text(RULES + "# 2\n")
    bench.until(lambda: running(bench, "a.py").hash != first.hash)
    with bench.archive.read() as connection:
        kept = connection.execute(sa.select(t.script_version.c.helpers)).scalars().all()
        assert scripts.get_version(connection, "a.py", first.hash) == first
    assert sorted(helpers["rules"] for helpers in kept) == [RULES, RULES + "# 2\n"]


@pytest.mark.parametrize(
    "broken", ["def word(:\n", "import os\n", "def other():\n    pass\n", "\n", b"\xff", "1 / 0\n"]
)
def test_a_broken_helper_leaves_the_last_good_version_running_also_over_a_restart(bench, lib, broken):
    (lib / "rules.py").write_text(RULES)
    bench.write("a.py", USER)
    bench.start()
    good = bench.until(lambda: running(bench, "a.py"))
    (lib / "rules.py").write_bytes(broken if isinstance(broken, bytes) else broken.encode())
    error = bench.until(lambda: bench.known("a.py").error)
    assert "rules.py" in error
    assert running(bench, "a.py") == good
    bench.stop()
    bench.start()
    bench.arrive()
    bench.until(lambda: bench.logged() == ["one"])
    (lib / "rules.py").write_text(RULES.replace("one", "mended"))
    bench.until(lambda: running(bench, "a.py") not in (None, good))
    assert bench.known("a.py").error is None
    bench.arrive()
    bench.until(lambda: bench.logged() == ["one", "mended"])


def test_a_helper_that_is_taken_away_leaves_the_last_good_version_running(bench, lib):
    (lib / "rules.py").write_text(RULES)
    bench.write("a.py", USER)
    bench.start()
    good = bench.until(lambda: running(bench, "a.py"))
    (lib / "rules.py").unlink()
    bench.until(lambda: "there is no lib/rules.py" in (bench.known("a.py").error or ""))
    assert running(bench, "a.py") == good


def test_a_folder_of_helpers_that_appears_later_is_watched(bench):
    bench.start()
    bench.write("a.py", USER)
    bench.until(lambda: "there is no lib/rules.py" in ((bench.known("a.py") and bench.known("a.py").error) or ""))
    (bench.folder / "lib").mkdir()
    (bench.folder / "lib" / "rules.py").write_text(RULES)
    bench.until(lambda: running(bench, "a.py"))


def test_only_helpers_that_are_used_count_and_files_of_other_kinds_are_none(bench, lib):
    for name in ("rules.py", "other.py", "_own.py", "note.txt", "not-a-name.py"):
        (lib / name).write_text("x = 1\n")
    bench.write("a.py", "from lib import rules\n")
    bench.write("b.py", "rules = 3\n")
    found = scan(bench.folder)
    assert {name: set(source.helpers) for name, source in found.items()} == {"a.py": {"rules"}, "b.py": set()}
    assert read_source(bench.folder / "a.py") == found["a.py"]


def test_a_helper_that_must_not_be_trusted_is_not_used(bench, lib):
    (lib / "rules.py").write_text(RULES)
    (lib / "rules.py").chmod(0o666)
    bench.write("a.py", USER)
    (bench.folder / "a.py").chmod(0o600)
    problem = scan(bench.folder, refuse_writable_by_others)["a.py"].problem
    assert "lib/rules.py" in problem


def test_check_names_the_helpers_file_and_line(bench, lib):
    (lib / "rules.py").write_text("x = 1\nimport os\n")
    bench.write("a.py", "import lib.rules\n")
    result = CliRunner().invoke(build(), ["check", str(bench.folder / "a.py")])
    assert result.exit_code == 1
    assert f"{lib / 'rules.py'}:2: module `os` is not offered" in result.output
    (lib / "rules.py").write_text("def f(instance):\n    return instance.tags.PatientNam\n")
    result = CliRunner().invoke(build(), ["check", str(bench.folder / "a.py"), str(lib / "rules.py")])
    assert result.output.count(f"{lib / 'rules.py'}:2: no element has the keyword 'PatientNam'") == 2
