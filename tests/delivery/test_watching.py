"""A full disk and a silent modality are told once, until that is over."""

from hostd.archive import associations, events
from hostd.delivery import watching

MODALITIES = {"ct1": ("CT1", "192.0.2.1"), "mr1": ("MR", "192.0.2.2"), "mr2": ("MR", "192.0.2.3")}
HOUR = 3600


def kinds(node):
    with node.archive.read() as connection:
        found = events.latest(
            connection, ["disk_low", "disk_recovered", "source_silent", "destination_down", "destination_up"], 100
        )
    return [(event.kind, event.subject) for event in found]


def test_a_full_disk_is_told_once_and_its_recovery_only_with_room_to_spare(node):
    for free_mb in (2000, 999, 500, 999, 1000, 1249, 1250, 1300, 999):
        watching.disk(node.archive, 1000, lambda _folder, free_mb=free_mb: free_mb << 20)
    assert [kind for kind, _ in kinds(node)] == ["disk_low", "disk_recovered", "disk_low"]


def test_a_full_disk_is_told_once_over_a_restart(node):
    watching.disk(node.archive, 1000, lambda _folder: 1)
    node.archive.close()
    node.open()
    watching.disk(node.archive, 1000, lambda _folder: 1)
    assert len(kinds(node)) == 1


def test_the_disk_of_the_data_folder_is_the_one_that_is_looked_at(node):
    watching.disk(node.archive, 1 << 40)
    watching.disk(node.archive, 0)
    assert [kind for kind, _ in kinds(node)] == ["disk_low", "disk_recovered"]


def send(node, aet, ip, received=1):
    def enter(connection):
        now = node.clock.now()
        number = associations.open_row(connection, at=now, calling_aet=aet, called_aet="H", ip=ip, port=1, facts={})
        associations.close_row(
            connection, number, ended="released", reason="", ended_at=now, received=received, stored=received, failed=0, size=1
        )  # fmt: skip

    node.archive.writer.do(enter)


def look(node, *names):
    watching.sources(node.archive, dict.fromkeys(names, 24.0 * HOUR), MODALITIES)
    return [subject for _, subject in kinds(node)]


def test_a_silent_modality_is_told_once_until_it_sends_again(node):
    send(node, "CT1", "192.0.2.1")
    assert look(node, "ct1") == []
    node.clock.advance(23 * HOUR)
    assert look(node, "ct1") == []
    send(node, "CT1", "192.0.2.1", received=0)  # an echo is no image
    node.clock.advance(2 * HOUR)
    assert look(node, "ct1") == ["ct1"]
    node.clock.advance(100 * HOUR)
    assert look(node, "ct1") == ["ct1"]
    send(node, "CT1", "192.0.2.1")
    node.clock.advance(HOUR)
    assert look(node, "ct1") == ["ct1"]
    node.clock.advance(24 * HOUR)
    assert look(node, "ct1") == ["ct1", "ct1"]


def test_modalities_of_one_title_are_told_apart_by_their_address_and_one_never_heard_has_its_time(node):
    assert look(node, "mr1", "mr2") == []
    node.clock.advance(23 * HOUR)
    send(node, "MR", "192.0.2.3")
    node.clock.advance(2 * HOUR)
    assert look(node, "mr1", "mr2") == ["mr1"]
