"""The four levels, asked of a real Orthanc and of hostd: lists, pages, descriptions, what is above and below, statistics, module tags."""

import pytest
import requests
from likeness import pair_of, stop
from peer_kit import PATIENCE_S, needs, sample

from hostd.testing.instances import changed, made, write

pytestmark = [pytest.mark.peers, needs("Orthanc")]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Both with three patients; the names stand for an MR image."""
    names = ("CT_small.dcm", "examples_rgb_color.dcm", "MR_small.dcm")
    holds = pair_of(tmp_path_factory.mktemp("levels"), *(sample(name).read_bytes() for name in names))
    yield holds
    stop(holds)


LEVELS = {"patients": "patient", "studies": "study", "series": "series", "instances": "instance"}
BELOW = {"patients": ["studies", "series", "instances"], "studies": ["series", "instances"], "series": ["instances"]}
ABOVE = {"studies": ["patient"], "series": ["patient", "study"], "instances": ["patient", "study", "series"]}

PATHS = [
    *(
        f"GET /{level}{query}"
        for level in LEVELS
        for query in (
            "", "?expand", "?limit=2&since=0", "?limit=2&since=2", "?limit=2&since=100", "?limit=0&since=0", "?expand&limit=1&since=1",
            "?since=1", "?limit=1", "?limit=x&since=0", "?limit=-1&since=0",
        )
        if level != "instances" or "expand" not in query  # that is in test_like_orthanc.py
    ),
    *(
        f"GET /{level}/{{{who}}}{rest}"
        for level, name in LEVELS.items()
        for who in (name, "nowhere")
        for rest in ("", "/statistics", "/module", "/module?simplify", "/module?short", "/metadata", "/metadata?expand", "/attachments")
    ),
    *(f"GET /{level}/{{{name}}}/{below}" for level, name in LEVELS.items() for below in BELOW.get(level, ())),
    *(f"GET /{level}/{{nowhere}}/{below}" for level in BELOW for below in BELOW[level]),
    *(f"GET /{level}/{{{LEVELS[level]}}}/{above}" for level, all_above in ABOVE.items() for above in all_above),
    *(f"GET /{level}/{{nowhere}}/{above}" for level, all_above in ABOVE.items() for above in all_above),
    *(
        f"GET /{level}/{{{LEVELS[level]}}}/{what}{form}"
        for level in BELOW
        for what in ("shared-tags", "instances-tags")
        for form in ("", "?simplify", "?short")
    ),
    "GET /studies/{study}/module-patient", "GET /studies/{study}/module-patient?simplify", "GET /studies/{nowhere}/module-patient",
    *(f"DELETE /{level}/{{nowhere}}" for level in LEVELS),
    *(f"PUT /{level}/{{{name}}}" for level, name in LEVELS.items()),
    *(f"GET /{level}/{{{name}}}/nope" for level, name in LEVELS.items()),
]  # fmt: skip


@pytest.mark.parametrize("request_", PATHS)
def test_a_level_is_told_as_by_orthanc(pair, request_):
    pair.assert_alike(request_)


@pytest.mark.parametrize("form", ["full", "short", "short&full", "full=true"])
@pytest.mark.parametrize("level", LEVELS)
def test_main_tags_are_spelled_as_they_are_asked_for(pair, level, form):
    around = (*ABOVE.get(level, ()), *BELOW.get(level, ()))
    paths = [f"/{level}/{{{LEVELS[level]}}}{rest}?{form}" for rest in ("", *(f"/{one}" for one in around))]
    for path in (*paths, f"/{level}?expand&{form}"):
        theirs, ours = (main_tags_of(answer.json()) for answer in pair.ask(f"GET {path}"))
        assert theirs == ours
        assert all("," in tag for one in ours.values() for tags in one for tag in tags)


def main_tags_of(found):
    return {
        one["ID"]: [one[name] for name in ("MainDicomTags", "PatientMainDicomTags") if name in one]
        for one in (found if isinstance(found, list) else [found])
    }


@pytest.mark.parametrize("level", LEVELS)
def test_pages_together_are_the_whole(pair, level):
    for url, whole in zip(pair.urls, pair.ask(f"GET /{level}"), strict=True):
        pages = []
        for since in range(0, len(whole.json()) + 1, 2):
            which = pair.urls.index(url)
            pages += pair.ask(f"GET /{level}?since={since}&limit=2")[which].json()
        assert sorted(pages) == sorted(whole.json())


@pytest.mark.parametrize(
    "path", ["/patients/{patient}", "/studies/{study}", "/series/{series}", "/instances/{instance}"]
)
def test_statistics_and_module_tags_have_the_same_values(pair, path):
    for what in ("statistics", "module?short"):
        theirs, ours = pair.ask(f"GET {path}/{what}")
        assert ours.json() == theirs.json()


def described(url, study):
    return requests.get(f"{url}/studies/{study}", timeout=PATIENCE_S).json()["MainDicomTags"]["StudyDescription"]


def test_a_study_is_described_by_what_is_there_but_in_orthanc_for_good_by_what_came_first(tmp_path):
    stored = []
    pair = pair_of(tmp_path)
    try:
        for number, name in enumerate(("First", "Second", "Wrong")):
            file = write(
                changed(made(number, pixels=True, elements={}), {"StudyDescription": name}), tmp_path / name, None
            )
            stored.append(pair.store(file.read_bytes()))
        study = stored[0]["ParentStudy"]
        assert [described(url, study) for url in pair.urls] == ["First", "Wrong"]
        seen = []
        for one in (stored[0], stored[2]):
            for url in pair.urls:
                assert requests.delete(f"{url}/instances/{one['ID']}", timeout=PATIENCE_S).status_code == 200
            seen.append([described(url, study) for url in pair.urls])
        assert seen == [["First", "Wrong"], ["First", "Second"]]
        for url, name in zip(pair.urls, ("First", "Second"), strict=True):
            query = {"Level": "Study", "Query": {"StudyDescription": name}}
            assert requests.post(f"{url}/tools/find", json=query, timeout=PATIENCE_S).json() == [study], (
                "as it is shown"
            )
    finally:
        stop(pair)
