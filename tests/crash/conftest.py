import pytest
from node_kit import NodeProcess, Place


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The node that everything is forwarded to, in a process of its own; it is never killed."""
    place = Place(tmp_path_factory.mktemp("archive"), "archive")
    with NodeProcess(place, "--no-scripts"):
        yield place


@pytest.fixture
def victim(tmp_path, archive):
    """The node that is killed."""
    from campaign import SCRIPT  # noqa: PLC0415 - the folder is on the path only after this file was found

    return Place(tmp_path, "victim", script=SCRIPT, archive_port=archive.dicom_port)
