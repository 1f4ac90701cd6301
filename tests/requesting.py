"""Associations that pynetdicom makes, without a race of its own.

The thread of an association takes from the queue what the peer asks. Who waits for an answer has it stop meanwhile, but pynetdicom takes
it for stopped when it is only about to stop, and where its turn comes between question and answer it takes the answer and throws it away:
one answer in some thousand, and more on a busy machine.
"""

import threading

_LOOK_S = 0.01


class _Checkpoint:
    """In the place of an association's event: who closes it returns when the association's thread stands before it."""

    def __init__(self, association):
        self._association = association
        self._changed = threading.Condition()
        self._is_open = True
        self._stands = False

    def wait(self):
        with self._changed:
            self._stands = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_open)
            self._stands = False

    def set(self):
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def clear(self):
        with self._changed:
            self._is_open = False
            while not (self._stands or self._association._kill):
                self._changed.wait(_LOOK_S)


def associate(entity, *arguments, **options):
    """Have a pynetdicom.AE make an association, as its `associate` does."""
    association = entity.associate(*arguments, **options)
    association._reactor_checkpoint = _Checkpoint(association)
    return association
