"""Metadata and labels: scripts note them, read them, and are told of what others noted, never of their own doing."""

import pytest
import sqlalchemy as sa
from scripts_kit import handler

from hostd.archive import instances, labels, marks
from hostd.archive import tables as t
from hostd.jobs.quiet import tell_due
from hostd.scripting.plan import MAX_HOPS


def on(event, subject, *lines):
    return f"def {event}({subject}, host):\n" + "".join(f"    {line}\n" for line in lines)


@pytest.fixture(autouse=True)
def _running(bench):
    bench.start()


def noted(bench, subject, identifier):
    with bench.archive.read() as connection:
        return marks.get(connection, subject, identifier)


def kinds(bench, prefix="updated_"):
    return [(row.kind, row.by) for row in bench.rows(t.event) if row.kind.startswith(prefix)]


def test_what_a_script_notes_of_an_instance_is_kept_and_told_to_others_once(bench):
    bench.put(
        "a.py",
        handler(
            "host.set_metadata(instance, 'Seen', 'yes')",
            "host.set_metadata(instance, 'Gone', 'x')",
            "host.set_metadata(instance, 'Gone', None)",
            "host.label(instance, 'b', 'a')",
            "host.unlabel(instance, 'b', 'never')",
        )
        + on("on_updated_instance", "instance", "print('own')"),
    )
    bench.put(
        "b.py", on("on_updated_instance", "instance", "print(instance.changes, instance.metadata, instance.labels)")
    )
    identifier = bench.arrive()
    bench.until_passed("a.py")
    bench.until_passed("b.py")
    assert noted(bench, "instance", identifier) == marks.Marks({"Seen": "yes"}, ["a"])
    assert kinds(bench) == [("updated_instance", "a.py")]
    assert bench.logged() == ["('labels', 'metadata') {'Seen': 'yes'} ('a',)"]
    assert [row.result["changed"] for row in bench.rows(t.action)] == [True] * 5


@pytest.mark.parametrize("level", ["series", "study", "patient"])
def test_a_level_has_metadata_and_labels_of_its_own(bench, level):
    bench.put(
        "a.py", on(f"on_new_{level}", level, f"host.label({level}, 'TRIAL7')", f"host.set_metadata({level}, 'k', 'v')")
    )
    bench.put(
        "b.py",
        on(
            f"on_updated_{level}",
            level,
            f"print({level}.changes, {level}.labels, {level}.metadata, {level}.first.labels)",
        ),
    )
    identifier = bench.arrive()
    bench.until_passed("a.py")
    bench.until_passed("b.py")
    assert bench.logged() == ["('labels', 'metadata') ('TRIAL7',) {'k': 'v'} ()"]
    with bench.archive.read() as connection:
        subject = getattr(instances.get(connection, identifier), level)
    assert noted(bench, level, subject) == marks.Marks({"k": "v"}, ["TRIAL7"])
    assert noted(bench, "instance", identifier) == marks.Marks()


def test_an_instance_of_a_series_is_noted_by_itself(bench):
    bench.put(
        "a.py",
        on(
            "on_stable_series",
            "series",
            "for one in series.instances:",
            "    host.label(one, f'n{one.tags.InstanceNumber}')",
        ),
    )
    ids = [bench.arrive(tags={"InstanceNumber": number}) for number in (1, 2)]
    bench.archive.clock.advance(60)
    tell_due(bench.archive)
    bench.until_passed("a.py")
    assert [noted(bench, "instance", one).labels for one in ids] == [["n1"], ["n2"]]


def test_what_changes_nothing_is_not_told(bench):
    bench.put(
        "a.py", handler("host.label(instance, 'a')") + on("on_received_again", "instance", "host.label(instance, 'a')")
    )
    identifier = bench.arrive()
    bench.until_passed("a.py")
    bench.count -= 1
    assert bench.arrive() == identifier
    bench.until_passed("a.py")
    assert [row.result["changed"] for row in bench.rows(t.action)] == [True, False]
    assert len(kinds(bench)) == 1


def test_two_scripts_that_answer_one_another_come_to_an_end(bench):
    answer = on("on_updated_instance", "instance", "host.set_metadata(instance, 'turn', f'{host.now()} {host.config}')")
    bench.may("a.py", config={"who": "a"})
    bench.may("b.py", config={"who": "b"})
    bench.put("a.py", handler("host.label(instance, 'begin')") + answer)
    bench.put("b.py", answer)
    bench.arrive()
    for _ in range(MAX_HOPS + 2):
        bench.until_passed("a.py")
        bench.until_passed("b.py")
    assert len(kinds(bench)) == MAX_HOPS
    last = bench.rows(t.action)[-1]
    assert (last.state, "followed from one another" in last.result["reason"]) == ("skipped", True)


def test_what_was_noted_goes_with_what_it_is_about_and_can_be_read_once_more(bench):
    bench.put(
        "a.py",
        handler("host.label(instance, 'a')", "host.set_metadata(instance, 'k', 'v')")
        + on("on_new_study", "study", "host.label(study, 's')")
        + on("on_deleted_instance", "instance", "print(instance.labels, instance.metadata)")
        + on("on_deleted_study", "study", "print(study.labels, study.metadata)", "host.label(study, 'late')"),
    )
    identifier = bench.arrive()
    bench.until_passed("a.py")
    bench.archive.writer.do(lambda c: instances.hide(c, identifier, 1.0), topics=("event",))
    bench.until_passed("a.py")
    assert bench.logged() == ["('a',) {'k': 'v'}", "('s',) {}"]
    assert bench.rows(t.label) == []
    assert bench.rows(t.action)[-1].state == "skipped"
    bench.put("a.py", on("on_deleted_study", "study", "pass"))  # what comes now gets no new notes
    assert noted(bench, "instance", bench.arrive()) == marks.Marks()


def test_the_place_for_what_is_noted_is_bounded(bench):
    bench.put(
        "a.py",
        handler(
            "for n in range(101):",
            "    host.set_metadata(instance, f'k{n}', 'v')",
            "host.label(instance, *[f'l{n}' for n in range(20)])",
        ),
    )
    identifier = bench.arrive()
    bench.until_passed("a.py")
    assert len(noted(bench, "instance", identifier).metadata) == marks.MAX_KEYS
    assert [row.state for row in bench.rows(t.action)].count("skipped") == 1
    bench.archive.writer.do(lambda c: labels.add(c, "instance", identifier, [f"x{n}" for n in range(81)]))
    bench.put("a.py", on("on_received_again", "instance", "host.label(instance, 'one-more')"))
    bench.count -= 1
    bench.arrive()
    bench.until_passed("a.py")
    assert bench.rows(t.action)[-1].state == "skipped"


def test_labels_are_found_by_an_index(bench):
    query = sa.select(t.label.c.id).where(t.label.c.level == "study", t.label.c.label == "x")
    with bench.archive.read() as connection:
        compiled = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}").all()
    assert "ix_label_level_label_id" in plan[0][-1]
