"""Threads that take turns: each wakes when its topic is rung, survives what a turn raises, and ends when it is asked to."""

import threading

import pytest

from hostd.archive.bulletin import Bulletin
from hostd.archive.turning import Turning, stopped, turn_after_turn

PATIENCE_S = 60


class Counting(Turning):
    """Counts its turns; `raises` says what the next one does."""

    def __init__(self, bulletin, pause=None):
        super().__init__(bulletin, "topic", "counting")
        self.pause, self.raises, self.turns, self.failures = pause, None, 0, 0
        self.changed = threading.Condition()

    def turn(self):
        with self.changed:
            self.turns += 1
            self.changed.notify_all()
            if self.raises is not None:
                raise self.raises
            return self.pause

    def failed(self):
        with self.changed:
            self.failures, self.raises = self.failures + 1, None
        return 0.0

    def wait_for(self, turns):
        with self.changed:
            assert self.changed.wait_for(lambda: self.turns >= turns, PATIENCE_S)


@pytest.fixture
def bulletin():
    return Bulletin()


@pytest.fixture
def counting(bulletin):
    made = Counting(bulletin)
    yield made
    assert stopped(bulletin, "topic", [made], PATIENCE_S) == []


def test_it_takes_a_turn_at_the_beginning_and_each_time_its_topic_is_rung(bulletin, counting):
    counting.start()
    counting.wait_for(1)
    assert not counting.join(0.05), "it waits, for ever"
    assert counting.turns == 1
    bulletin.ring("topic")
    counting.wait_for(2)


def test_it_goes_on_at_once_or_after_the_pause_that_a_turn_says(counting):
    counting.pause = 0
    counting.start()
    counting.wait_for(100)
    counting.pause = 0.001
    counting.wait_for(counting.turns + 10)


def test_it_survives_what_a_turn_raises(bulletin, counting):
    counting.raises = ZeroDivisionError()
    counting.start()
    counting.wait_for(2)
    assert counting.failures == 1


def test_several_end_together_and_who_does_not_is_told(bulletin):
    held = threading.Event()

    class Stuck(Counting):
        def turn(self):
            super().turn()
            held.wait(PATIENCE_S)

    stuck, others = Stuck(bulletin), [Counting(bulletin), Counting(bulletin)]
    for one in (stuck, *others):
        one.start()
        one.wait_for(1)
    assert stopped(bulletin, "topic", others, PATIENCE_S) == []
    assert stopped(bulletin, "topic", [stuck, *others], 0.01) == [stuck]
    held.set()
    assert stuck.join(PATIENCE_S)


def test_one_that_is_asked_to_stop_just_before_it_looks_whether_its_topic_was_rung_ends():
    class Late(Bulletin):
        def seen(self, topic):
            late.ask_to_stop()
            self.ring(topic)
            return super().seen(topic)

    late = Counting(Late())
    late.start()
    try:
        assert late.join(PATIENCE_S)
    finally:
        late._bulletin.ring("topic")


def test_to_stop_it_is_to_wait_for_the_end_of_its_turn(bulletin):
    counting = Counting(bulletin)
    counting.start()
    counting.wait_for(1)
    counting.stop()
    assert counting.join(0), "it has ended"


def test_who_is_not_wanted_any_more_ends_when_the_topic_is_rung(bulletin):
    turns = []

    def is_wanted():
        answer = not turns
        bulletin.ring("topic")  # by who has just changed what the next question is answered with
        return answer

    def failed():
        raise AssertionError("nothing fails here")

    serving = threading.Thread(
        target=turn_after_turn,
        args=(bulletin, "topic", threading.Event(), lambda: turns.append(1), failed, is_wanted),
        daemon=True,
    )
    serving.start()
    serving.join(PATIENCE_S)
    assert not serving.is_alive(), "it waits, for ever"
    assert turns == [1]
