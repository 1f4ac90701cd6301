"""Who may ask for what, and what is accepted: decided when it is asked, by rules that may change meanwhile."""

import socket
from dataclasses import replace

import pytest

from hostd.config.settings import Settings
from hostd.dimse import commands
from hostd.dimse.associate import decode_acceptance
from hostd.errors import ConfigurationError
from hostd.scp.accepted import Accepted
from hostd.scp.access import Callers, Known, Rules
from hostd.scp.configured import accepted_of, callers_of

ALL = frozenset(("echo", "store", "find", "move", "get", "commit"))
ARCHIVE = Known("archive", "ARCHIVE", "192.0.2.7", ALL)
EXPLICIT = "1.2.840.10008.1.2.1"
J2K = "1.2.840.10008.1.2.4.90"
PRIVATE_CLASS = "1.2.840.113619.4.30"


def test_a_modality_is_known_by_title_and_address():
    callers = Callers(Rules((ARCHIVE,)))
    assert callers.caller("ARCHIVE", "192.0.2.7").modality == "archive"
    assert callers.caller("ARCHIVE", "::ffff:192.0.2.7").modality == "archive"
    for title, ip in (
        ("ARCHIVE", "192.0.2.8"),
        ("archive", "192.0.2.7"),
        ("OTHER", "192.0.2.7"),
        ("ARCHIVE", "fe80::1%eth0"),
    ):
        stranger = callers.caller(title, ip)
        assert (stranger.modality, stranger.may) == (None, {"echo", "store"})
        assert "is no configured modality" in stranger.refusal("find")
    assert callers.caller("ARCHIVE", "192.0.2.7").refusal("find") is None


def test_address_and_case_are_not_looked_at_when_told_so():
    callers = Callers(Rules((ARCHIVE,), checks_host=False, is_strict=False))
    assert callers.caller("Archive", "10.0.0.1").modality == "archive"
    assert callers.is_called("hostd", ["HOSTD"])
    callers.use(replace(Rules((ARCHIVE,)), is_strict=True))
    assert callers.caller("Archive", "192.0.2.7").modality is None
    assert not callers.is_called("hostd", ["HOSTD"])


def test_a_host_is_looked_up_by_its_name_and_not_again_and_again():
    asked = []

    def resolve(host):
        asked.append(host)
        if host == "gone.example":
            raise socket.gaierror("no such name")
        return ["192.0.2.7", "2001:db8::7"]

    known = replace(ARCHIVE, host="archive.example"), replace(ARCHIVE, aet="GONE", host="gone.example")
    callers = Callers(Rules(known), addresses=resolve)
    assert callers.caller("ARCHIVE", "2001:db8::7").modality == "archive"
    assert callers.caller("ARCHIVE", "192.0.2.9").modality is None
    assert callers.caller("GONE", "192.0.2.7").modality is None
    assert callers.caller("GONE", "192.0.2.7").modality is None
    assert asked == ["archive.example", "gone.example"]


def test_of_two_modalities_with_one_title_the_address_decides():
    callers = Callers(Rules((ARCHIVE, replace(ARCHIVE, name="second", host="192.0.2.8"))))
    assert callers.caller("ARCHIVE", "192.0.2.8").modality == "second"
    assert callers.modalities_of("ARCHIVE") == ["archive", "second"]


def test_the_configuration_says_who_may_what():
    settings = Settings(
        dicom={"always_allow_store": False, "always_allow_get": True},
        modalities={
            "a": {"aet": "A", "host": "127.0.0.1", "port": 104, "allow_find": False, "allow_commitment": False},
            "b": {"aet": "B", "host": "127.0.0.1", "port": 104},
        },
    )
    callers = Callers(callers_of(settings))
    assert callers.caller("A", "127.0.0.1").may == ALL - {"find", "commit"}
    assert callers.caller("B", "::1").may == ALL
    assert callers.caller("C", "127.0.0.1").may == {"echo", "get"}


def test_what_is_accepted_can_be_told_anew_while_it_runs():
    settings = Settings(dicom={"rejected_transfer_syntaxes": ["jpeg*"], "rejected_sop_classes": ["MRImageStorage"]})
    accepted = Accepted(accepted_of(settings.dicom))
    assert J2K not in accepted.transfer_syntaxes()
    assert accepted.syntaxes_of([J2K, "1.2.752.24.3.7.6", EXPLICIT]) == [EXPLICIT, "1.2.752.24.3.7.6"]
    assert "1.2.840.10008.5.1.4.1.1.4" not in accepted.sop_classes()
    accepted.accept_transfer_syntaxes(["j2k"])
    assert accepted.transfer_syntaxes() == [J2K]
    with pytest.raises(ConfigurationError):
        accepted.accept_transfer_syntaxes(["nonsense"])
    assert accepted.transfer_syntaxes() == [J2K]
    assert not accepted.takes_class(PRIVATE_CLASS)
    accepted.accept_unknown_sop_classes(True)
    assert accepted.takes_class(PRIVATE_CLASS)
    assert not accepted.takes_class("1.2.840.10008.5.1.1.1")  # of the standard, and not for storage


def test_refused_contexts_say_whether_class_or_syntaxes_are_to_blame(kit):
    accepted = Accepted()
    accepted.accept_transfer_syntaxes([EXPLICIT])
    kit.listen(accepted=accepted)
    wire = kit.wire()
    _, body = wire.associate(
        (kit.CT, [J2K, kit.IMPLICIT]),
        (kit.CT, [J2K, EXPLICIT]),
        (PRIVATE_CLASS, [EXPLICIT]),
        (kit.VERIFICATION, [kit.IMPLICIT]),
    )
    results, _ = decode_acceptance(body)
    assert [results[number][0] for number in (1, 3, 5, 7)] == [4, 0, 3, 0]
    wire.close()
    accepted.accept_unknown_sop_classes(True)
    accepted.accept_transfer_syntaxes(["*"])
    wire = kit.wire()
    _, body = wire.associate((kit.CT, [J2K, kit.IMPLICIT]), (PRIVATE_CLASS, [EXPLICIT]))
    assert decode_acceptance(body)[0] == {1: (0, J2K), 3: (0, EXPLICIT)}
    wire.close()
    (first, _), _ = kit.log.wait(2)
    assert [fact.refused for fact in first.contexts] == [
        "none of the transfer syntaxes is supported", None, "the abstract syntax is not supported", None,
    ]  # fmt: skip
    assert first.modality is None


def test_who_may_not_store_is_told_before_anything_is_sent(kit):
    callers = Callers(Rules((Known("wire", "WIRE", "127.0.0.1", frozenset(["echo"])),)))
    kit.listen(callers=callers)
    wire = kit.wire()
    _, body = wire.associate((kit.CT, [kit.IMPLICIT]), (kit.VERIFICATION, [kit.IMPLICIT]))
    results, _ = decode_acceptance(body)
    assert (results[1][0], results[3][0]) == (1, 0)
    wire.close()
    wire = kit.wire()
    assert wire.associate((kit.CT, [kit.IMPLICIT])) == (3, bytes([0, 1, 1, 3]))
    (first, _), (_, second) = kit.log.wait(2)
    assert (first.modality, first.contexts[0].refused) == ("wire", "modality wire may not store")
    assert (second.ended, second.reason) == ("rejected", "the calling AE title is not recognised")


def test_who_may_not_echo_may_not_on_a_context_for_something_else_either(kit):
    callers = Callers(Rules((Known("wire", "WIRE", "127.0.0.1", frozenset(["store"])),)))
    kit.listen(callers=callers)
    wire = kit.wire()
    assert wire.associate((kit.CT, [kit.IMPLICIT]))[0] == 2
    echo = kit.p_data(kit.pdv(commands.echo_request(message_id=1, sop_class_uid=kit.VERIFICATION), command=True))
    wire.send(echo)
    assert wire.response() == (0x0124, "modality wire may not echo")
    callers.use(Rules((Known("wire", "WIRE", "127.0.0.1", ALL),)))
    wire.send(echo)
    assert wire.response() == (0, "")
