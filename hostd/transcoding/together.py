"""What is de-identified together is handed out together: of a study with one instance that cannot be de-identified, nothing is (P7)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

from hostd.errors import InstanceFault
from hostd.transcoding.stored import Product, Stored
from hostd.transcoding.transform import Transform

_REMEMBERED = 256
"""Of how many it is remembered how they stand; of others it is found out again."""

Asked = tuple[int, str]
"""An action, and where what it asks for goes: one destination, one queue."""


class Together:
    """Answers for all that one action asked for. For any number of threads; `bring` makes products as `Products.bring` does."""

    def __init__(self, bring: Callable[[Stored, Transform], Product]) -> None:
        self._bring = bring
        self._guard = threading.Lock()
        self._spoilt_by: OrderedDict[Asked, str] = OrderedDict()
        """The file by which it failed last, which is looked at first; "": all could be de-identified."""

    def require(self, transform: Transform, asked: Asked, others: Callable[[], Sequence[Stored]]) -> None:
        """Return once all that was asked for together could be de-identified; at once where the transform does not de-identify.

        `others` reads what else was asked for and is not given up. Raises `InstanceFault`, which names the one that cannot be, and whatever
        `bring` raises when this machine could not do its part now.
        """
        wanted = transform.until_anonymized
        last = self._spoilt_by.get(asked)
        if not wanted or last == "":
            return
        for other in sorted(others(), key=lambda other: other.blob != last):
            try:
                self._bring(other, wanted)
            except InstanceFault as fault:
                self._remember(asked, other.blob)
                raise InstanceFault(
                    f"nothing of what was asked for together goes out as long as {other.sop_instance_uid} is among it: {fault}"
                ) from fault
        self._remember(asked, "")

    def _remember(self, asked: Asked, blob: str) -> None:
        with self._guard:
            self._spoilt_by[asked] = blob
            if len(self._spoilt_by) > _REMEMBERED:
                self._spoilt_by.popitem(last=False)
