"""What other archives are asked and have sent here: what is proposed to them, over TLS too, and what their answers mean."""

import ssl

import pytest
from certificates import Certificates, needs_openssl
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from hostd.archive.tasks import Task
from hostd.config.sections import Modality as Section
from hostd.delivery.destinations.modality import configured
from hostd.delivery.providers import Provider, get_contexts, plain_contexts
from hostd.delivery.retrieving import Gone, IncompleteError, judge, question_of, result_of
from hostd.dicom.query import Question
from hostd.dicom.syntaxes import ALL
from hostd.dimse.retrieval import Counts, Retrieved
from hostd.errors import ActionFault, DestinationFault

FIND, GET = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.3"
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def provider(port, **settings):
    section = Section(aet="PACS", host="127.0.0.1", port=port, **settings)
    return Provider(configured("pacs", section), by=section.retrieve_by, query_timeout_s=60, retrieve_timeout_s=60)


def test_each_transfer_syntax_of_what_is_expected_has_a_context_of_its_own_to_be_sent_in():
    contexts = get_contexts(GET, [CT, MR])
    assert contexts[0][0] == GET
    assert len(contexts) == 128
    of_ct = [syntaxes for sop_class, syntaxes in contexts if sop_class == CT]
    assert ("1.2.840.10008.1.2.4.90",) in of_ct
    assert ("1.2.840.10008.1.2.5",) in of_ct
    assert {uid for syntaxes in of_ct for uid in syntaxes} >= {syntax.uid for syntax in ALL if syntax.is_compressed}
    assert "1.2.840.10008.1.2.1" in of_ct[0]
    others = {sop_class for sop_class, _ in contexts} - {GET, CT, MR}
    assert others, "what is not expected, and common, has a context, too"


@pytest.mark.parametrize("count", [0, 1, 3, 10, 32, 200])
def test_no_more_is_proposed_than_an_association_can_have(count):
    expected = [f"1.2.3.{number}" for number in range(count)]
    for contexts in (get_contexts(GET, expected), plain_contexts(GET, expected)):
        assert len(contexts) <= 128
        assert {sop_class for sop_class, _ in contexts} >= set(expected[:127])
    for sop_class in expected[:32]:
        found = {uid for one, syntaxes in get_contexts(GET, expected) if one == sop_class for uid in syntaxes}
        assert found >= {syntax.uid for syntax in ALL if syntax.is_compressed}


@pytest.mark.parametrize(
    ("status", "counts", "means"),
    [
        (0x0000, Counts(completed=3), None),
        (0x0000, Counts(), None),
        (0xB000, Counts(completed=1, warning=2), None),
        (0xB000, Counts(completed=1, failed=2), IncompleteError),
        (0x0000, Counts(completed=1, failed=2), IncompleteError),
        (0xA702, Counts(failed=2), IncompleteError),
        (0xC001, Counts(), IncompleteError),
        (0xFE00, Counts(remaining=2), IncompleteError),
        (0xA801, Counts(), ActionFault),
        (0xA900, Counts(), ActionFault),
        (0x0122, Counts(), ActionFault),
        (0x0124, Counts(), ActionFault),
    ],
)
def test_only_what_brought_all_there_was_is_done_and_what_is_of_no_use_is_not_tried_again(status, counts, means):
    retrieved = Retrieved(status, "", counts)
    if means is None:
        judge(retrieved, "pacs", "HOSTD")
        return
    with pytest.raises(means) as raised:
        judge(retrieved, "pacs", "HOSTD")
    assert f"0x{status:04X}" in str(raised.value) or "enter that AE title" in str(raised.value)
    if means is ActionFault:
        assert raised.value.result == result_of(retrieved)


def test_what_waits_for_a_modality_that_is_gone_fails_in_the_open():
    task = Task(
        7, 1, "a.py", "retrieve", "retrieve:pacs", None, None, None, None, "", {"study": "1.2"}, 0, "running", 1, 0, None,
        None, 0, None,
    )  # fmt: skip
    with pytest.raises(ActionFault, match="hostd actions retry 7"):
        Gone().prepare(task)


def test_the_lowest_level_that_is_named_is_asked_for_with_all_keys():
    assert question_of({"study": "1", "series": "2"}) == Question("series", {0x0020000D: "1", 0x0020000E: "2"})
    assert question_of({"study": "1"}).level == "study"
    assert question_of({"study": "1", "series": "2", "instance": "3"}).keys[0x00080018] == "3"


@needs_openssl
def test_an_archive_is_asked_over_tls_and_only_one_that_is_trusted(tmp_path):
    certificates = Certificates(tmp_path / "tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates.server)

    def find(event):
        found = Dataset()
        found.QueryRetrieveLevel = "STUDY"
        found.SpecificCharacterSet = "ISO_IR 192"
        found.PatientName = event.identifier.PatientName
        yield 0xFF00, found

    ae = AE(ae_title="PACS")
    ae.add_supported_context(FIND)
    handlers = [(evt.EVT_C_FIND, find)]
    server = ae.start_server(("127.0.0.1", 0), block=False, ssl_context=context, evt_handlers=handlers)
    try:
        port = server.server_address[1]
        question = Question.by_keywords("study", {"PatientName": "Müller^Jörg"})
        answers = provider(port, tls=True, ca_file=certificates.ca).find(question, most=5)
        assert answers.matches[0][0x00100010][1] == ["Müller^Jörg"]
        with pytest.raises(DestinationFault, match="not trusted"):
            provider(port, tls=True, ca_file=certificates.client[0]).find(question, most=5)
    finally:
        server.shutdown()


def test_an_archive_that_refuses_says_how():
    def find(_event):
        status = Dataset()
        status.Status, status.ErrorComment = 0xA900, "no such level"
        yield status, None

    ae = AE(ae_title="PACS")
    ae.add_supported_context(FIND)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    try:
        one = provider(server.server_address[1])
        with pytest.raises(DestinationFault, match=r"pacs answered the query with 0xA900 .*: no such level"):
            one.find(Question("study"), most=5)
        with pytest.raises(ActionFault, match="does not offer that"):
            one.move(Question("study"), "HOSTD")
    finally:
        server.shutdown()
