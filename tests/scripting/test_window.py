"""No event is lost, none is entered twice, and those of one study keep their order: the cursor's model, without threads.

Workers take events from the window, their plans are committed or lost, the script is taken up anew, in any order that can happen.
"""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hostd.archive.cursors import joined
from hostd.archive.records import Cursor, Event
from hostd.scripting import window
from hostd.scripting.window import Waiting, Window

LANES = 3


def event(number, study):
    return Event(number, "stored_instance", f"i{number}", None, None, None, None, 0.0, study=study)


class Taking(RuleBasedStateMachine):
    """What a crew does with window and cursor, step by step; `entered` is what the index would hold."""

    def __init__(self):
        super().__init__()
        self.log = {}
        self.newest = 0
        self.low_water, self.finished = 0, []
        self.entered = []
        self.lanes = LANES
        self.muster()

    def cursor(self):
        return Cursor("a.py", self.low_water, tuple(self.finished), 0)

    def muster(self):
        """Begin anew, where the index says."""
        self.window = Window(is_one=self.lanes == 1)
        self.looked_to = self.low_water
        self.begun = self.cursor()
        self.after = [self.low_water] * self.lanes
        self.with_writer = [[] for _ in range(self.lanes)]

    @rule(study=st.sampled_from(["1", "2", "3", None]), gap=st.integers(0, 2))
    def arrive(self, study, gap):
        self.newest += 1 + gap  # what is between concerns nobody
        self.log[self.newest] = event(self.newest, study)

    @rule(most=st.integers(1, 4))
    def look(self, most):
        batch = [self.log[n] for n in sorted(self.log) if n > self.looked_to][:most]
        first = self.looked_to + 1
        for one in batch:
            if not self.begun.has_passed(one.number):
                self.window.put(Waiting(one, first))
                first = one.number + 1
        upto = batch[-1].number if len(batch) == most else self.newest
        if upto >= first:
            self.low_water, self.finished = joined(self.low_water, [*self.finished, (first, upto)])
        self.looked_to = max(self.looked_to, upto)

    @rule(lane=st.integers(0, LANES - 1))
    def take(self, lane):
        lane %= self.lanes
        waiting = self.window.take(lane)
        assert (waiting is not None) or not self.window.has_for(lane)
        if waiting is not None:
            self.with_writer[lane].append((waiting, self.after[lane]))
            self.after[lane] = waiting.event.number

    @rule(lane=st.integers(0, LANES - 1))
    def commit(self, lane):
        lane %= self.lanes
        if not self.with_writer[lane]:
            return
        waiting, after = self.with_writer[lane].pop(0)
        number = waiting.event.number
        assert self.cursor().has_passed(after), "the writer commits in the order of submission"
        assert not self.cursor().has_passed(number)
        self.low_water, self.finished = joined(self.low_water, [*self.finished, (waiting.first, number)])
        self.entered.append(number)
        self.window.settle(waiting.event)

    @rule(lane=st.integers(0, LANES - 1))
    def refuse(self, lane):
        """The oldest plan of a worker is not committed: those after it are refused, and the crew begins anew."""
        lane %= self.lanes
        if self.with_writer[lane]:
            for _, after in self.with_writer[lane][1:]:
                assert not self.cursor().has_passed(after), "what comes after a plan that was lost is refused, too"
            self.muster()

    @rule(lanes=st.sampled_from([1, LANES]))
    def crash(self, lanes):
        self.lanes = lanes
        self.muster()

    @precondition(lambda self: self.log)
    @rule()
    def go_on_to_the_end(self):
        for _ in range(len(self.log) * 2 + 2):
            self.look(4)
            for lane in range(self.lanes):
                self.take(lane)
                self.commit(lane)
        assert sorted(self.entered) == sorted(self.log), "no event is lost"
        assert (self.low_water, self.finished) == (self.newest, [])

    @invariant()
    def none_is_entered_twice_and_studies_keep_their_order(self):
        assert len(self.entered) == len(set(self.entered))
        for study in ("1", "2", "3"):
            of_it = [number for number in self.entered if self.log[number].study == study]
            assert of_it == sorted(of_it)

    @invariant()
    def nothing_is_passed_that_was_not_entered(self):
        cursor = self.cursor()
        assert {number for number in self.log if cursor.has_passed(number)} == set(self.entered)
        assert all(first > self.low_water + 1 and first <= last for first, last in self.finished)


TestTaking = Taking.TestCase
TestTaking.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_one_worker_takes_everything_in_the_order_of_the_log():
    one = Window(is_one=True)
    for number, study in ((1, "a"), (2, "b"), (3, "a")):
        one.put(Waiting(event(number, study), number))
    assert [one.take(0).event.number for _ in range(3)] == [1, 2, 3]


def test_a_study_that_is_stuck_holds_up_itself_alone():
    two = Window(is_one=False)
    for number in range(1, 10):
        two.put(Waiting(event(number, "stuck" if number % 2 else f"s{number}"), number))
    assert two.take(0).event.number == 1
    assert [two.take(1).event.number for _ in range(4)] == [2, 4, 6, 8]
    assert not two.has_for(1)
    assert two.take(1) is None
    two.settle(event(1, "stuck"))
    assert two.take(1).event.number == 3


def test_what_is_about_no_study_keeps_its_order_by_what_it_is_about():
    two = Window(is_one=False)
    for number, subject in ((1, "modality:archive"), (2, "modality:archive"), (3, "peer:ai")):
        two.put(Waiting(Event(number, "destination_down", subject, None, None, None, None, 0.0), number))
    assert two.take(0).event.number == 1
    assert two.take(1).event.number == 3


def test_the_room_is_limited():
    one = Window(is_one=False)
    one.put(Waiting(event(1, "a"), 1))
    assert one.room == window.MOST - 1


@pytest.mark.parametrize(
    ("low_water", "spans", "expected"),
    [
        (0, [], (0, [])),
        (0, [(1, 3)], (3, [])),
        (0, [(3, 4), (1, 1)], (1, [(3, 4)])),
        (0, [(5, 6), (3, 3), (4, 4)], (0, [(3, 6)])),
        (7, [(3, 4), (6, 9)], (9, [])),
        (2, [(4, 9), (5, 6), (11, 12)], (2, [(4, 9), (11, 12)])),
    ],
)
def test_finished_spans_are_joined(low_water, spans, expected):
    assert joined(low_water, spans) == expected
