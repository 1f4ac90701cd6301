"""What destinations accept is remembered by SOP class, and newer words win."""

from hostd.archive import acceptance
from hostd.archive.acceptance import Acceptance, Remembered

BOTH_DATABASES = True
NAME, CT, MR = "modality:archive", "1.2.2", "1.2.4"


def remember(archive, at, **learnt):
    of = {"ct": CT, "mr": MR}
    archive.writer.do(lambda c: acceptance.remember(c, NAME, {of[key]: one for key, one in learnt.items()}, at))


def test_what_is_learnt_later_is_added_and_what_was_said_otherwise_is_replaced(archive):
    remember(archive, 1.0, ct=Acceptance(("explicit",), ("j2k", "rle")))
    remember(archive, 2.0, ct=Acceptance(("j2k",), ("explicit",)), mr=Acceptance((), ("rle",)))
    with archive.read() as connection:
        assert acceptance.listing(connection, NAME) == [
            Remembered(CT, Acceptance(("j2k",), ("explicit", "rle")), 2.0),
            Remembered(MR, Acceptance((), ("rle",)), 2.0),
        ]
        assert acceptance.listing(connection, "modality:other") == []
