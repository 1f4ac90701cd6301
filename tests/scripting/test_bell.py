"""A bell wakes its one waiter, and forgets no ring."""

from __future__ import annotations

import threading

from hostd.scripting.bell import Bell


def test_a_bell_that_was_rung_before_does_not_let_its_waiter_wait_and_is_heard_once() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    bell.wait()
    heard = threading.Event()
    waiter = threading.Thread(target=lambda: (bell.wait(), heard.set()), daemon=True)
    waiter.start()
    assert not heard.wait(0.05), "two rings before it was heard are one"
    bell.ring()
    assert heard.wait(60)


def test_what_was_hushed_is_not_heard() -> None:
    bell = Bell()
    bell.ring()
    bell.hush()
    bell.hush()
    heard = threading.Event()
    waiter = threading.Thread(target=lambda: (bell.wait(), heard.set()), daemon=True)
    waiter.start()
    assert not heard.wait(0.05)
    bell.ring()
    assert heard.wait(60)
