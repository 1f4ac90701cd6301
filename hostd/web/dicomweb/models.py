"""The elements of instances in the DICOM JSON Model (PS3.18 Annex F), as bytes.

Instances that are shown together are mostly those of a series: most elements of each are as in the one before, and are neither read nor
written anew.
"""

from __future__ import annotations

from hostd.archive.archive import Archive
from hostd.archive.records import Instance
from hostd.dicom.element_values import Elements, Value
from hostd.dicom.json_model import BulkUri, Path, to_json
from hostd.dicom.recalled_header import Recollection
from hostd.web import tags
from hostd.web.dicomweb.resources import url_of
from hostd.web.files import opened
from hostd.web.responses import encoded


def read(
    archive: Archive, instance: Instance, root: str, lately: Recollection | None = None
) -> tuple[Elements, BulkUri]:
    """Return what a file holds, and where its large values can be had. What is as in `lately` is not read again.

    Raises `WebError` where there is no such file any more.
    """
    with opened(archive, instance) as file:
        elements = tags.read_elements(file, lately)
    own = url_of(root, instance)

    def bulk_uri(path: Path) -> str:
        parts = (str(part) if number % 2 else f"{part:08X}" for number, part in enumerate(path))
        return f"{own}/bulkdata/{'/'.join(parts)}"

    return elements, bulk_uri


class Models:
    """Writes one instance after another. For one thread at a time."""

    def __init__(self, archive: Archive, root: str) -> None:
        self._archive = archive
        self._root = root
        self._lately = Recollection()
        self._written: dict[int, tuple[Value, bytes]] = {}
        """By tag, what an element last was, and how it is written."""

    def model(self, instance: Instance) -> bytes:
        """Return the object of an instance. Raises `WebError` and `UnparsableError`."""
        elements, bulk_uri = read(self._archive, instance, self._root, self._lately)
        members = []
        for tag in sorted(elements):
            value = elements[tag]
            written = self._written.get(tag)
            if written is None or written[0] is not value:
                members.append(self._member(tag, value, bulk_uri))
            else:
                members.append(written[1])
        return b"{%b}" % b",".join(members)

    def _member(self, tag: int, value: Value, bulk_uri: BulkUri) -> bytes:
        """Write an element, and note it, but for one that says where its value, or one in it, can be had."""
        is_of_this_alone = False

        def noted(path: Path) -> str:
            nonlocal is_of_this_alone
            is_of_this_alone = True
            return bulk_uri(path)

        member = encoded(to_json({tag: value}, noted))[1:-1]
        if not is_of_this_alone:
            self._written[tag] = value, member
        return member
