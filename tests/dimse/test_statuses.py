"""What a DIMSE status means."""

import pytest

from hostd.dicom.statuses import category, describe, describe_of_query


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0x0000, "success"), (0x0001, "warning"), (0x0107, "warning"), (0x0116, "warning"), (0xB000, "warning"),
        (0xB007, "warning"), (0xBFFF, "warning"), (0x0111, "failure"), (0x0122, "failure"), (0x0211, "failure"),
        (0xA700, "failure"), (0xA7FF, "failure"), (0xA900, "failure"), (0xC000, "failure"), (0xCFFF, "failure"),
        (0x1234, "failure"), (0xFE00, "cancel"), (0xFF00, "pending"), (0xFF01, "pending"),
    ],
)  # fmt: skip
def test_category(status, kind):
    assert category(status) == kind


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0xA700, "0xA700 (out of resources)"), (0xA7FE, "0xA7FE (out of resources)"),
        (0xC123, "0xC123 (cannot understand)"), (0xB006, "0xB006 (elements discarded)"),
        (0x1234, "0x1234 (not a status of the standard)"),
    ],
)  # fmt: skip
def test_description(status, text):
    assert describe(status) == text


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0xB000, "0xB000 (sub-operations complete, one or more failures)"), (0xC123, "0xC123 (unable to process)"),
        (0xA900, "0xA900 (identifier does not match SOP class)"), (0xA702, "0xA702 (out of resources, unable to perform sub-operations)"),
        (0xA700, "0xA700 (out of resources)"), (0x0124, "0x0124 (not authorized)"),
    ],
)  # fmt: skip
def test_description_of_what_a_query_or_a_retrieval_is_answered(status, text):
    assert describe_of_query(status) == text
