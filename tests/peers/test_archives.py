"""hostd asks DCMTK's dcmqrscp what it has, and has it sent here by C-MOVE and C-GET; scripts prefetch."""

import pytest
from archive_kit import Pacs
from peer_kit import LiveNode, needs, sample, until
from ports import free_port
from pydicom import dcmread

from hostd.archive import tasks
from hostd.archive.tasks import Task
from hostd.delivery.retrieving import Retrieving, question_of
from hostd.dicom.query import Question
from hostd.errors import ActionFault, DestinationFault

pytestmark = [pytest.mark.peers, needs("dcmqrscp", "storescu")]

J2K = "1.2.840.10008.1.2.4.90"
PREFETCH = """
def on_new_study(study, host):
    for prior in host.query(host.config["from"], "study", PatientID=study.patient_id):
        if prior.StudyInstanceUID != study.study_instance_uid:
            host.retrieve(host.config["from"], study=prior.StudyInstanceUID)


def on_action_done(action, host):
    print(action.verb, action.state, action.result.get("completed"), action.result.get("failed"))
"""


DIRECT = """
def on_stored_instance(instance, host):
    if instance.tags.StudyDescription == "FETCH":
        host.retrieve("gets", study=instance.tags.text("PatientComments"))
"""


def prior(path, number, patient, to):
    """Write a prior study of a patient, and return it."""
    made = dcmread(path)
    made.PatientID = patient
    made.PatientName = "Müller^Jörg"
    made.SpecificCharacterSet = "ISO_IR 100"
    for place, keyword in enumerate(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"), 1):
        setattr(made, keyword, f"1.2.826.0.1.3680043.8.498.9{number}.{place}")
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.StudyDate = f"202{number % 10}0101"
    made.save_as(to / f"{number}.dcm")
    return made, to / f"{number}.dcm"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A PACS with three studies of two patients, one of them in JPEG 2000, and a node that knows it under two names."""
    folder = tmp_path_factory.mktemp("archives")
    port = free_port()
    pacs = Pacs(folder / "pacs", "+xv", "-xv", knows={"HOSTD": port}).start()
    studies = []
    for number, (name, patient) in enumerate(
        [("CT_small.dcm", "A1"), ("MR_small_jp2klossless.dcm", "A1"), ("MR_small_jp2klossless.dcm", "B2")]
    ):
        made, path = prior(sample(name), number, patient, folder)
        pacs.take(made, path)
        studies.append(made)
    modality = f'aet = "PACS"\nhost = "127.0.0.1"\nport = {pacs.port}\n'
    scripts = '[scripts."direct.py"]\nmay = ["retrieve"]\n[scripts."prefetch.py"]\nmay = ["query", "retrieve"]\nconfig = { from = "moves" }\n'
    node = LiveNode(
        folder / "node", {"prefetch.py": PREFETCH, "direct.py": DIRECT}, port=port,
        more=f'[modalities.moves]\n{modality}[modalities.gets]\n{modality}retrieve_by = "get"\n{scripts}',
    )  # fmt: skip
    yield pacs, node, studies
    node.stop()
    pacs.stop()


def question(level, **keys):
    return Question.by_keywords(level, keys).complete()


def texts(answers, tag):
    return {one[tag][1][0] for one in answers.matches}


def test_it_says_what_it_has_at_every_level(world):
    _, node, (first, second, third) = world
    provider = node.node._providers["moves"]
    patients = provider.find(question("patient", PatientName="M*"), most=10)
    assert texts(patients, 0x00100020) == {"A1", "B2"}
    studies = provider.find(question("study", PatientID="A1"), most=10)
    assert texts(studies, 0x0020000D) == {first.StudyInstanceUID, second.StudyInstanceUID}
    series = provider.find(question("series", StudyInstanceUID=third.StudyInstanceUID), most=10)
    assert texts(series, 0x0020000E) == {third.SeriesInstanceUID}
    instances = provider.find(
        question("instance", StudyInstanceUID=third.StudyInstanceUID, SeriesInstanceUID=third.SeriesInstanceUID),
        most=10,
    )
    assert texts(instances, 0x00080018) == {third.SOPInstanceUID}
    assert provider.find(question("study", PatientID="NOBODY"), most=10).matches == []
    cut = provider.find(question("study"), most=2)
    assert (len(cut.matches), cut.is_whole) == (2, False)


def retrieve(node, name, **uids):
    """Carry out a retrieve as the queue of that modality does; return its result."""
    executor = Retrieving(node.node._providers[name], node.node._retrievals)
    task = Task(
        1, 1, "a.py", "retrieve", f"retrieve:{name}", None, None, None, None, "", uids, 0, "running", 1, 0, None, None,
        node.archive.clock.now(), None,
    )  # fmt: skip
    return executor.prepare(task).result


@pytest.mark.parametrize(("name", "which"), [("moves", (1, 2)), ("gets", (0, 1, 2))])
def test_a_study_is_sent_here_as_the_archive_has_it(world, name, which):
    """By C-MOVE the archive sends JPEG 2000 only; by C-GET it is asked again for what it cannot send in that."""
    _, node, studies = world
    for study in (studies[number] for number in which):
        node.forget(study.SOPInstanceUID)
        result = retrieve(node, name, study=study.StudyInstanceUID)
        assert result == {"completed": 1, "failed": 0, "warning": 0, "status": "0x0000"}
        held = node.instance(study.SOPInstanceUID)
        assert held.blob.transfer_syntax == study.file_meta.TransferSyntaxUID
        assert (held.origin.kind, held.origin.calling_aet, held.origin.called_aet) == ("dicom", "PACS", "HOSTD")
        assert held.origin.modality in ("moves", "gets")
        assert dcmread(node.path(study.SOPInstanceUID)).PixelData == study.PixelData


@pytest.mark.parametrize("name", ["moves", "gets"])
def test_a_series_and_an_instance_are_retrieved_by_their_uids(world, name):
    _, node, (*_, study) = world
    uids = {"study": study.StudyInstanceUID, "series": study.SeriesInstanceUID}
    node.forget(study.SOPInstanceUID)
    assert retrieve(node, name, **uids)["completed"] == 1
    assert node.instance(study.SOPInstanceUID)
    node.forget(study.SOPInstanceUID)
    assert retrieve(node, name, **uids, instance=study.SOPInstanceUID)["completed"] == 1
    assert node.instance(study.SOPInstanceUID)
    assert retrieve(node, name, study="1.2.3.4")["completed"] == 0


def test_who_is_not_known_to_the_archive_is_told_what_to_enter_there(world):
    _, node, (study, *_) = world
    provider = node.node._providers["moves"]
    moved = provider.move(question_of({"study": study.StudyInstanceUID}), "NOBODY")
    assert moved.status == 0xA801
    here = node.node._retrievals.here
    node.node._retrievals.here = type(here)("NOBODY", here.take)
    try:
        with pytest.raises(ActionFault, match="does not know 'NOBODY': enter that AE title there"):
            retrieve(node, "moves", study=study.StudyInstanceUID)
    finally:
        node.node._retrievals.here = here


def test_a_script_prefetches_what_its_patient_had_and_hears_of_the_end(world):
    """Whatever is retrieved begins a study itself: its priors are asked for, too, and nothing goes on for ever."""
    _, node, (first, second, third) = world
    for study in (first, second, third):
        node.forget(study.SOPInstanceUID)
    done = len(_results(node))
    new = dcmread(sample("CT_small.dcm"))
    new.PatientID = "B2"
    path = node.folder / "new.dcm"
    new.save_as(path)
    assert node.storescu(path).returncode == 0
    until(lambda: node.instance(third.SOPInstanceUID), "the prior of the patient is prefetched")
    assert not node.instance(first.SOPInstanceUID)
    until(lambda: len(_results(node)) > done, "the retrieve has ended")
    until(lambda: "retrieve done 1 0" in _logged(node), "the script hears of it")


def _results(node):
    with node.archive.read() as connection:
        return [one.result for one in tasks.listing(connection, states=("done",)) if one.verb == "retrieve"]


def _logged(node):
    return "\n".join(str(log) for (log,) in node.query("select log from run"))


def test_what_was_asked_for_while_it_was_under_way_shares_its_end(world):
    _, node, (*_, study) = world
    executor = Retrieving(node.node._providers["moves"], node.node._retrievals)

    def task(created_at):
        uids = {"study": study.StudyInstanceUID}
        return Task(
            1, 1, "a.py", "retrieve", "retrieve:moves", None, None, None, None, "", uids, 0, "running", 1, 0, None, None,
            created_at, None,
        )  # fmt: skip

    now = node.archive.clock.now()
    first = executor.prepare(task(now)).result
    assert "shared" not in first
    assert executor.prepare(task(now)).result == first | {"shared": True}
    assert "shared" not in executor.prepare(task(node.archive.clock.now() + 1)).result


def test_an_archive_that_is_away_is_a_fault_of_its_own_and_one_that_is_back_serves(world):
    pacs, node, (*_, study) = world
    pacs.stop()
    try:
        with pytest.raises(DestinationFault, match="could not connect"):
            retrieve(node, "moves", study=study.StudyInstanceUID)
        with pytest.raises(DestinationFault, match="could not connect"):
            node.node._query("moves", question("study"), 1)
    finally:
        pacs.start()
    assert retrieve(node, "moves", study=study.StudyInstanceUID)["completed"] == 1


def test_a_retrieve_waits_for_an_archive_that_is_away_and_is_done_once_it_is_back(world):
    pacs, node, (study, *_) = world
    node.forget(study.SOPInstanceUID)
    ask = dcmread(sample("CT_small.dcm"))
    ask.SOPInstanceUID = ask.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    ask.PatientID, ask.StudyDescription, ask.PatientComments = "C3", "FETCH", study.StudyInstanceUID
    path = node.folder / "ask.dcm"
    ask.save_as(path)

    def task():
        with node.archive.read() as connection:
            return next((one for one in tasks.listing(connection) if one.script == "direct.py"), None)

    pacs.stop()
    try:
        assert node.storescu(path).returncode == 0
        until(lambda: task() and task().attempts >= 2, "it is tried again")
        assert "could not connect" in (task().last_error or "could not connect")
    finally:
        pacs.start()
    until(lambda: task().state == "done", "it is done")
    assert (task().result["completed"], task().result["status"]) == (1, "0x0000")
    assert node.instance(study.SOPInstanceUID)
