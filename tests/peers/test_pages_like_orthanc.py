"""Lists that are asked for page by page, of a real Orthanc and of hostd: nothing is skipped, and nothing comes twice."""

import io

import pytest
import requests
from likeness import pair_of, stop
from peer_kit import PATIENCE_S, needs, sample
from pydicom import dcmread
from pydicom.uid import generate_uid

pytestmark = [pytest.mark.peers, needs("Orthanc")]

LEVELS = {"patients": "Patient", "studies": "Study", "series": "Series", "instances": "Instance"}


def contents():
    """Yield files of two patients, four studies, six series."""
    file = dcmread(sample("MR_small.dcm"))
    for number in range(12):
        if number % 6 == 0:
            file.PatientID = f"P{number}"
        if number % 3 == 0:
            file.StudyInstanceUID = generate_uid()
        if number % 2 == 0 or number % 3 == 0:
            file.SeriesInstanceUID = generate_uid()
        file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        written = io.BytesIO()
        file.save_as(written, enforce_file_format=True)
        yield written.getvalue()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    made = pair_of(tmp_path_factory.mktemp("pages"), *contents())
    yield made
    stop(made)


def paged(page):
    found = []
    while more := page(len(found)):
        assert len(more) <= 2
        found += more
    return found


@pytest.mark.parametrize("level", LEVELS)
def test_the_pages_of_a_list_are_the_list(pair, level):
    told = []
    for url in pair.urls:

        def get(query, url=url):
            answer = requests.get(f"{url}/{level}{query}", timeout=PATIENCE_S)
            answer.raise_for_status()
            return [one["ID"] if isinstance(one, dict) else one for one in answer.json()]

        def find(since, url=url):
            body = {"Level": LEVELS[level], "Query": {}, "Since": since, "Limit": 2}
            answer = requests.post(f"{url}/tools/find", json=body, timeout=PATIENCE_S)
            answer.raise_for_status()
            return answer.json()

        whole = get("")
        assert paged(lambda since, get=get: get(f"?since={since}&limit=2")) == whole
        assert paged(lambda since, get=get: get(f"?expand&since={since}&limit=2")) == whole
        found = paged(find)
        assert sorted(found) == sorted(whole)
        told.append(sorted(whole))
    assert told[0] == told[1]
