"""What of a changed configuration a running node takes over, and what it names as waiting for its next start."""

import pytest

from hostd.config import changes
from hostd.config.section import Section
from hostd.config.settings import Settings


def test_only_what_can_be_taken_over_is():
    now, wanted = (
        Settings(),
        Settings(
            node={"name": "other", "trash_days": 3},
            retention={"old": {"keep_days": 9, "label": "OLD"}},
            delivery={"batch": 7},
        ),
    )
    assert changes.sections(now, wanted) == ["node", "delivery", "retention"]
    assert changes.waiting(now, wanted) == ["node.name"]
    found = changes.taken(now, wanted)
    assert (found.node.name, found.node.trash_days, found.delivery.batch) == ("hostd", 3, 7)
    assert list(found.retention) == ["old"]
    assert changes.waiting(found, wanted) == ["node.name"]


def test_of_dicom_what_is_accepted_is_taken_over_and_the_rest_waits():
    now, wanted = Settings(), Settings(dicom={"port": 104, "rejected_transfer_syntaxes": ["j2k"]})
    assert changes.sections(now, wanted) == ["dicom"]
    assert changes.waiting(now, wanted) == ["dicom.port"]
    found = changes.taken(now, wanted).dicom
    assert (found.port, found.rejected_transfer_syntaxes) == (4242, ("j2k",))


@pytest.mark.parametrize("section", sorted(changes.RELOADED_OF))
def test_what_of_a_section_is_taken_over_is_among_its_settings(section):
    assert changes.RELOADED_OF[section] < type(getattr(Settings(), section)).model_fields.keys()


def test_the_same_is_no_change():
    assert changes.sections(Settings(), Settings()) == changes.waiting(Settings(), Settings()) == []


@pytest.mark.parametrize("name", sorted(Settings.model_fields.keys() - changes.RELOADED))
def test_what_waits_for_a_start_can_be_named(name):
    assert isinstance(getattr(Settings(), name), Section)


WAITING = [
    f"{section}.{name}"
    for section in sorted(Settings.model_fields.keys() - changes.RELOADED)
    for name in sorted(
        type(getattr(Settings(), section)).model_fields.keys() - changes.RELOADED_OF.get(section, frozenset())
    )
]


@pytest.mark.parametrize("setting", WAITING)
def test_each_setting_that_is_not_taken_over_is_named_as_waiting(setting):
    section, _, name = setting.partition(".")
    now = Settings()
    other = getattr(now, section).model_copy(update={name: "other"})
    wanted = now.model_copy(update={section: other})
    assert changes.sections(now, wanted) == []
    assert changes.waiting(now, wanted) == [setting]
    assert changes.taken(now, wanted) == now


def test_the_page_says_which_sections_are_taken_over(pytestconfig):
    page = (pytestconfig.rootpath / "docs" / "configuration.md").read_text()
    (line,) = [line for line in page.splitlines() if "A running node takes over" in line]
    assert all(f"`{name}`" in line for name in changes.RELOADED)
    assert not any(f"`{name}`" in line for name in Settings.model_fields.keys() - changes.RELOADED)
    for section in changes.RELOADED_OF.keys() - {"dicom"}:
        (line,) = [line for line in page.splitlines() if f"of `[{section}]` `" in line]
        assert all(f"`{name}`" in line for name in changes.RELOADED_OF[section])
