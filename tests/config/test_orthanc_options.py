"""What becomes of Orthanc's options."""

import json
import tomllib
from pathlib import Path

import pytest
import tomli_w
from pydantic import ValidationError

from hostd.config.orthanc.converting import from_orthanc
from hostd.config.orthanc.options import OPTIONS
from hostd.config.problems import InvalidConfigurationError
from hostd.config.settings import Settings, load
from hostd.config.storage import Storage
from hostd.dicom.syntaxes import ALL
from hostd.errors import ConfigurationError
from hostd.scp.accepted import Accepted
from hostd.scp.configured import accepted_of

BASE = Path("/etc/orthanc")


def converted(**options):
    found = from_orthanc(options, base=BASE, hashed=lambda user, password: HASH)
    if found.problems:
        raise InvalidConfigurationError(found.problems)
    return found


KEYS = [name.rpartition(".")[2] for name in OPTIONS if "." in name]
HASH = "$argon2id$v=19$m=64,t=1,p=1$aHVudGVyMnNlY3JldA$Y4bmYd5yXqdnL5wbvjNdfw"


def settings(**options):
    return Settings(**converted(**options).values)


def notes(**options):
    return {note.option: note.text for note in converted(**options).notes}


def test_nothing_said_is_orthancs_defaults():
    found = settings()
    assert (found.dicom.host, found.dicom.port, found.dicom.aets) == ("0.0.0.0", 4242, ("ORTHANC",))
    assert (found.http.host, found.http.port, found.users) == ("127.0.0.1", 8042, {})
    assert found.delivery.calling_aet == "ORTHANC"
    assert found.ingest.on_conflict == "first"
    assert found.ingest.transcode_to is None
    assert found.node.name == "MyOrthanc"
    assert list(notes()) == ["StorageDirectory"]


def test_hostds_data_goes_beside_orthancs_storage_and_never_into_it():
    assert settings().node.data == BASE / "hostd-data"
    assert settings(StorageDirectory="db/").node.data == BASE / "hostd-data"
    assert settings(StorageDirectory="/var/lib/orthanc/db").node.data == Path("/var/lib/orthanc/hostd-data")
    assert settings(StorageDirectory=".").node.data == BASE.parent / "hostd-data"
    assert settings(StorageDirectory="/db").node.data == Path("/hostd-data")
    assert settings().node.scripts == BASE / "hostd-scripts"
    assert settings(StorageDirectory="/var/lib/orthanc/db").node.scripts == Path("/var/lib/orthanc/hostd-scripts")


def test_what_is_accepted_of_whom_is_as_orthanc_has_it_but_for_the_address():
    dicom = settings().dicom
    assert dicom.accepted_transfer_syntaxes == ("1.2.840.10008.1.*",)
    assert (dicom.always_allow_echo, dicom.always_allow_store) == (True, True)
    assert not any((dicom.always_allow_find, dicom.always_allow_move, dicom.always_allow_get))
    assert (dicom.check_modality_host, dicom.strict_aet_comparison) == (True, False)
    assert not dicom.accept_unknown_sop_classes
    dicom = settings(
        DicomAlwaysAllowStore=False, DicomAlwaysAllowFind=True, DicomCheckModalityHost=False, StrictAetComparison=True,
        UnknownSopClassAccepted=True, AcceptedSopClasses=["1.2.840.10008.5.1.4.1.1.*"], RejectedSopClasses=["CTImageStorage"],
    ).dicom  # fmt: skip
    assert (dicom.always_allow_store, dicom.always_allow_find, dicom.check_modality_host) == (False, True, False)
    assert (dicom.strict_aet_comparison, dicom.accept_unknown_sop_classes) == (True, True)
    assert dicom.accepted_sop_classes == ("1.2.840.10008.5.1.4.1.1.*",)
    assert dicom.rejected_sop_classes == ("CTImageStorage",)


def accepted(**options):
    return Accepted(accepted_of(settings(**options).dicom)).transfer_syntaxes()


ROOT = "1.2.840.10008.1.2"
SWITCHES = {
    "Deflated": [".1.99"],
    "Jpeg": [".4.50", ".4.51", ".4.53", ".4.55", ".4.57", ".4.70"],
    "Jpeg2000": [".4.90", ".4.91", ".4.92", ".4.93"],
    "JpegLossless": [".4.80", ".4.81"],
    "Jpip": [".4.94", ".4.95"],
    "Mpeg2": [".4.100", ".4.100.1", ".4.101", ".4.101.1"],
    "Rle": [".5"],
    "H265": [".4.107", ".4.108"],
}


@pytest.mark.parametrize("group", SWITCHES)
def test_each_older_switch_takes_its_transfer_syntaxes_away_or_adds_them(group):
    everything = set(accepted())
    assert len(everything) > 40
    mine = {ROOT + suffix for suffix in SWITCHES[group]}
    assert everything - set(accepted(**{f"{group}TransferSyntaxAccepted": False})) == mine
    only = {"AcceptedTransferSyntaxes": "1.2.840.10008.1.2", f"{group}TransferSyntaxAccepted": True}
    assert set(accepted(**only)) == mine | {ROOT}


def test_with_all_switches_off_only_uncompressed_instances_come():
    switches = ("Deflated", "Jpeg", "Jpeg2000", "JpegLossless", "Jpip", "Mpeg2", "Mpeg4", "Rle", "H265")
    left = accepted(**{f"{group}TransferSyntaxAccepted": False for group in switches})
    of_now = {syntax.uid for syntax in ALL if ".4.11" in syntax.uid or ".4.20" in syntax.uid or ".8.1" in syntax.uid}
    assert set(left) - of_now == {ROOT, ROOT + ".1", ROOT + ".2", ROOT + ".1.98"}


def test_what_a_modality_may_ask_for_is_as_its_entry_says():
    entry = {
        "AET": "A",
        "Host": "h",
        "Port": 104,
        "AllowFind": False,
        "AllowMove": True,
        "AllowStorageCommitment": False,
    }
    found = settings(DicomModalities={"a": entry}).modalities["a"]
    assert (found.allow_find, found.allow_move, found.allow_get, found.allow_commitment) == (False, True, True, False)


def test_syntaxes_that_are_none_are_refused_in_orthancs_words():
    with pytest.raises(InvalidConfigurationError) as refused:
        converted(AcceptedTransferSyntaxes={"a": 1})
    assert "AcceptedTransferSyntaxes" in str(refused.value)


def test_a_name_that_is_none_here_is_made_one_and_told():
    assert settings(Name="Radiology (north)").node.name == "Radiology-north"
    assert "Radiology-north" in notes(Name="Radiology (north)")["Name"]


def test_the_faces_are_as_they_were():
    found = settings(
        DicomServerEnabled=True, DicomAet="PACS", DicomPort=104, DicomCheckCalledAet=True, DicomScpTimeout=45,
        MaximumPduLength=65536, HttpServerEnabled=False, HttpPort=80, StableAge=90,
    )  # fmt: skip
    dicom = found.dicom
    assert (dicom.aets, dicom.port, dicom.check_called_aet, dicom.timeout_s) == (("PACS",), 104, True, 45)
    assert (dicom.max_pdu, found.http.enabled, found.http.port, found.stable.quiet_s) == (65536, False, 80, 90)
    assert not settings(DicomServerEnabled=False).dicom.enabled


@pytest.mark.parametrize(
    ("options", "host", "users", "told"),
    [
        ({}, "127.0.0.1", False, None),
        ({"RegisteredUsers": {"a": "x"}}, "127.0.0.1", False, None),
        ({"RegisteredUsers": {"a": "x"}, "AuthenticationEnabled": True}, "127.0.0.1", True, None),
        ({"RemoteAccessAllowed": True, "RegisteredUsers": {"a": "x"}}, "0.0.0.0", True, None),
        ({"RemoteAccessAllowed": True}, "127.0.0.1", False, "RemoteAccessAllowed"),
        ({"RemoteAccessAllowed": True, "AuthenticationEnabled": False}, "127.0.0.1", False, "RemoteAccessAllowed"),
        (
            {"RemoteAccessAllowed": True, "AuthenticationEnabled": False, "RegisteredUsers": {"a": "x"}},
            "0.0.0.0", True, "AuthenticationEnabled",
        ),
    ],
)  # fmt: skip
def test_http_is_open_to_others_only_with_users(options, host, users, told):
    found = settings(**options)
    assert (found.http.host, bool(found.users)) == (host, users)
    assert set(notes(**options)) - {"StorageDirectory"} == ({told} if told else set())


@pytest.mark.parametrize("more", [{}, {"RegisteredUsers": {}}, {"RemoteAccessAllowed": True}])
def test_who_wants_users_to_sign_in_and_names_none_is_not_open_to_all(more):
    with pytest.raises(InvalidConfigurationError, match=r"AuthenticationEnabled: is true.*RegisteredUsers"):
        converted(AuthenticationEnabled=True, **more)


def test_where_http_is_off_nobody_has_to_sign_in():
    off = {"HttpServerEnabled": False}
    assert not settings(AuthenticationEnabled=True, **off).http.enabled
    assert "RemoteAccessAllowed" not in notes(RemoteAccessAllowed=True, **off)


def test_of_users_that_are_no_object_nothing_else_is_said():
    with pytest.raises(InvalidConfigurationError) as refused:
        converted(AuthenticationEnabled=True, RegisteredUsers="anna")
    assert [str(one) for one in refused.value.problems] == ["RegisteredUsers: should be an object, in braces"]


def test_servers_of_dicomweb_are_destinations():
    found = settings(
        DicomWeb={
            "Enable": True,
            "Servers": {"old": ["http://h/dicom-web/"], "new": {"Url": "https://n/dw", "Username": "u", "Password": "p", "HasDelete": True}},
        },
        HttpTimeout=9,
    )  # fmt: skip
    assert (found.dicomweb["old"].url, found.dicomweb["old"].timeout_s) == ("http://h/dicom-web/", 9)
    new = found.dicomweb["new"]
    assert (new.url, new.username, new.password.get_secret_value()) == ("https://n/dw/", "u", "p")


def test_users_may_do_everything_and_their_passwords_are_hashed():
    asked = []
    given = {"RegisteredUsers": {"anna": "geheim"}, "RemoteAccessAllowed": True}
    found = from_orthanc(given, base=BASE, hashed=lambda user, password: asked.append((user, password)) or HASH)
    assert found.values["users"] == {"anna": {"password_hash": HASH, "role": "admin"}}
    assert asked == [("anna", "geheim")]
    assert "geheim" not in repr(found)


def test_a_user_without_a_password_is_refused():
    with pytest.raises(InvalidConfigurationError, match=r"RegisteredUsers\.anna"):
        converted(RegisteredUsers={"anna": ""}, RemoteAccessAllowed=True)


def test_https_has_its_certificate_and_key_in_one_file():
    found = settings(
        SslEnabled=True, SslCertificate="both.pem", SslVerifyPeers=True, SslTrustedClientCertificates="/ca.pem",
        SslMinimumProtocolVersion=5,
    ).http  # fmt: skip
    assert (found.certificate_file, found.key_file) == (BASE / "both.pem", BASE / "both.pem")
    assert (found.client_ca_file, found.tls_minimum) == (Path("/ca.pem"), "1.3")


DICOM_TLS = {"DicomTlsEnabled": True, "DicomTlsCertificate": "c.pem", "DicomTlsPrivateKey": "k.pem"}


def test_dicom_over_tls_is_on_the_port_itself():
    found = settings(**DICOM_TLS, DicomTlsTrustedCertificates="ca.pem", DicomPort=2762).dicom
    assert (found.port, found.tls_port) == (2762, 2762)
    assert (found.certificate_file, found.key_file) == (BASE / "c.pem", BASE / "k.pem")
    assert found.client_ca_file == BASE / "ca.pem"
    assert settings(**DICOM_TLS, DicomTlsRemoteCertificateRequired=False).dicom.client_ca_file is None
    with pytest.raises(InvalidConfigurationError, match="DicomTlsTrustedCertificates"):
        converted(**DICOM_TLS)


def test_modalities_are_arrays_or_objects():
    found = settings(
        DicomModalities={
            "pacs": ["PACS", "10.0.0.1", 104],
            "old": ["OLD", "old.example", "105", "GenericNoWildcardInDates"],
            "ws": {
                "AET": "WS", "Host": "ws.example", "Port": 11112, "LocalAet": "BUFFER", "Timeout": 20, "AllowTranscoding": False,
                "AllowStore": True, "Manufacturer": "Generic",
            },
        },
        DicomScuTimeout=12,
        DicomAssociationCloseDelay=3,
        DicomScuPreferredTransferSyntax="1.2.840.10008.1.2.4.90",
    )  # fmt: skip
    pacs, old, ws = (found.modalities[name] for name in ("pacs", "old", "ws"))
    assert (pacs.aet, pacs.host, pacs.port, pacs.calling_aet, pacs.timeout_s) == (
        "PACS", "10.0.0.1", 104, "ORTHANC", 12,
    )  # fmt: skip
    assert pacs.allow_transcoding
    assert pacs.preferred_syntax.uid == "1.2.840.10008.1.2.4.90"
    assert old.port == 105
    assert (ws.calling_aet, ws.timeout_s, ws.allow_transcoding) == ("BUFFER", 20, False)
    assert found.delivery.linger_s == 3


def test_no_modality_is_transcoded_for_where_the_protocol_is_not():
    found = settings(DicomModalities={"a": ["A", "h", 104]}, TranscodeDicomProtocol=False)
    assert not found.modalities["a"].allow_transcoding


def test_modalities_over_tls_show_the_nodes_certificate():
    entry = {"AET": "A", "Host": "h", "Port": 104, "UseDicomTls": True}
    found = settings(**DICOM_TLS, DicomTlsTrustedCertificates="ca.pem", DicomModalities={"a": entry}).modalities["a"]
    assert (found.tls, found.ca_file, found.tls_check_name) == (True, BASE / "ca.pem", False)
    assert found.client_certificate == (BASE / "c.pem", BASE / "k.pem")


def test_peers_are_arrays_or_objects():
    found = settings(
        OrthancPeers={
            "open": ["http://10.0.0.2:8042"],
            "closed": ["https://peer.example/", "alice", "geheim"],
            "whole": {
                "Url": "https://whole.example/orthanc/", "Username": "bob", "Password": "geheim", "HttpHeaders": {"X-Token": "t"},
                "CertificateFile": "c.pem", "CertificateKeyFile": "k.pem", "Timeout": 7,
            },
        },
        HttpTimeout=40,
        HttpsCACertificates="ca.pem",
    ).peers  # fmt: skip
    assert found["open"].url == "http://10.0.0.2:8042/"
    assert (found["open"].timeout_s, found["open"].username) == (40, None)
    assert (found["closed"].username, found["closed"].password.get_secret_value()) == ("alice", "geheim")
    whole = found["whole"]
    assert (whole.timeout_s, whole.ca_file, whole.headers["X-Token"].get_secret_value()) == (7, BASE / "ca.pem", "t")
    assert whole.client_certificate == (BASE / "c.pem", BASE / "k.pem")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"DicomModalities": {"a": ["A", "h"]}}, "DicomModalities.a"),
        ({"DicomModalities": {"a": 5}}, "DicomModalities.a"),
        ({"DicomModalities": []}, "DicomModalities"),
        ({"OrthancPeers": {"p": ["http://h/", "user"]}}, "OrthancPeers.p"),
        ({"DicomWeb": {"Servers": {"p": 1}}}, "DicomWeb.Servers.p"),
        ({"DicomWeb": {"Servers": 1}}, "DicomWeb.Servers"),
        ({"RemoteAccessAllowed": "yes"}, "RemoteAccessAllowed"),
        ({"OverwriteInstances": "Sometimes"}, "OverwriteInstances"),
        ({"BuiltinDecoderTranscoderOrder": "First"}, "BuiltinDecoderTranscoderOrder"),
        ({"StableAge": "soon"}, "StableAge"),
        ({"StableAge": True}, "StableAge"),
        ({"MaximumStorageSize": True}, "MaximumStorageSize"),
        ({"StorageDirectory": 5}, "StorageDirectory"),
        ({"StorageDirectory": {}}, "StorageDirectory"),
        ({"StorageDirectory": "a\0b"}, "StorageDirectory"),
        ({"StorageDirectory": "a\ud800"}, "StorageDirectory"),
        ({"SslEnabled": True, "SslCertificate": 5}, "SslCertificate"),
        ({"OrthancPeers": {"p": ["http://h/"]}, "HttpsCACertificates": 5}, "HttpsCACertificates"),
        ({"HttpsCACertificates": 5}, "HttpsCACertificates"),
        ({"OrthancPeers": {"p": {"Url": "http://h/", "Password": "x"}}}, "OrthancPeers.p.Password"),
        ({"OrthancPeers": {"p": ["http://h/", "", "x"]}}, "OrthancPeers.p.Password"),
        ({"OrthancPeers": {"p": {"Url": "http://h/", "Timeout": "soon"}}}, "OrthancPeers.p.Timeout"),
        ({"OrthancPeers": {"p": {"Url": "http://h/", "CertificateFile": 5}}}, "OrthancPeers.p.CertificateFile"),
        ({"DicomWeb": {"Servers": {"p": {"Url": "http://h/", "Timeout": []}}}}, "DicomWeb.Servers.p.Timeout"),
        (
            {"DicomModalities": {"a": {"AET": "A", "Host": "h", "Port": 1, "AllowEcho": "no"}}},
            "DicomModalities.a.AllowEcho",
        ),
        ({"DicomScuPreferredTransferSyntax": "1.2.3"}, "DicomScuPreferredTransferSyntax"),
    ],
)
def test_what_orthanc_would_not_take_either_is_refused_by_its_option(options, named):
    with pytest.raises(InvalidConfigurationError) as refused:
        converted(**options)
    assert [problem.key for problem in refused.value.problems] == [named]


@pytest.mark.parametrize(
    ("target", "how"),
    [
        ("1.2.840.10008.1.2.4.70", (None, None)),
        ("1.2.840.10008.1.2.4.50", (75, None)),
        ("1.2.840.10008.1.2.4.81", (None, 2)),
        ("1.2.840.10008.1.2.4.91", (75, None)),
    ],
)
def test_what_arrives_is_transcoded_as_it_was(target, how):
    found = settings(
        IngestTranscoding=target, DicomLossyTranscodingQuality=75, IngestTranscodingOfUncompressed=False
    ).ingest
    assert found.target.uid == target
    assert (found.quality, found.near) == how
    assert (found.of_uncompressed, found.of_compressed) == (False, True)


def test_a_transfer_syntax_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="no transfer syntax is called"):
        settings(IngestTranscoding="1.2.3")


@pytest.mark.parametrize(
    ("given", "kept"),
    [(False, "first"), ("Never", "first"), (True, "newest"), ("Always", "newest"), ("IfChanged", "newest")],
)
def test_overwriting_is_which_content_is_the_current_one(given, kept):
    assert settings(OverwriteInstances=given).ingest.on_conflict == kept


def test_hostds_own_codecs_stay_where_plug_ins_alone_had_to_do():
    assert settings(BuiltinDecoderTranscoderOrder="After").transcoding.builtin == "after"
    assert settings(BuiltinDecoderTranscoderOrder="Disabled").transcoding.builtin == "before"
    assert "BuiltinDecoderTranscoderOrder" in notes(BuiltinDecoderTranscoderOrder="Disabled")


def test_no_limit_in_time_leaves_the_default_and_is_told():
    assert settings(DicomScpTimeout=0).dicom.timeout_s == settings().dicom.timeout_s
    assert "DicomScpTimeout" in notes(DicomScpTimeout=0)
    assert settings(StableAge=0).stable.quiet_s == 60
    assert "StableAge" not in notes(StableAge=0)


def test_what_is_as_orthancs_default_is_not_told():
    assert list(notes(MaximumStorageSize=0, MaximumPatientCount=0, LuaScripts=[], Plugins=[], JobsHistorySize=10)) == [
        "StorageDirectory"
    ]


def test_what_is_not_there_is_told_once_with_what_to_do():
    found = notes(
        StorageCompression=True, DicomAlwaysAllowFindWorklist=True, Worklists={"Enable": True}, StabelAge=5, MyPlugin={},
        DicomModalities={"a": {"AET": "A", "Host": "h", "Port": 104, "AllowEventReport": False, "UseDicomTLS": True}},
    )  # fmt: skip
    assert "transcode_to" in found["StorageCompression"]
    assert "worklist" in found["DicomAlwaysAllowFindWorklist"]
    assert "worklist" in found["Worklists"]
    assert "StableAge" in found["StabelAge"]
    assert "is not known" in found["MyPlugin"]
    assert "commitment" in found["DicomModalities.a.AllowEventReport"]
    assert "UseDicomTls" in found["DicomModalities.a.UseDicomTLS"]


def test_scripts_are_named_with_the_recipe_that_does_what_they_did():
    found = notes(LuaScripts=["/etc/lua/Autorouting.lua", "mine.lua"], PythonScript="/etc/compress_us_to_lossy.py")
    assert "samples/auto-forwarding" in found["LuaScripts /etc/lua/Autorouting.lua"]
    assert "docs/from-orthanc.md" in found["LuaScripts mine.lua"]
    assert "samples/teleradiology-ultrasound" in found["PythonScript /etc/compress_us_to_lossy.py"]
    assert "LuaScripts" not in found


@pytest.mark.parametrize(("script", "recipe"), [
    ("/srv/transcode-middleman/lua.lua", "jpeg2000-compression"), (r"C:\Orthanc\Autorouting.lua", "auto-forwarding"),
    (r"C:\sanitize\main.lua", "change-and-forward"), ("sanitize/Autorouting.lua", "auto-forwarding"),
])  # fmt: skip
def test_a_script_is_known_by_its_name_else_by_that_of_its_folder(script, recipe):
    assert f"samples/{recipe} does" in notes(LuaScripts=[script])[f"LuaScripts {script}"]


def test_all_that_comes_out_is_of_hostd_and_nothing_given_is_changed():
    given = {"DicomModalities": {"a": ["A", "h", 104]}, "OrthancPeers": {"p": ["http://h/"]}}
    before = json.dumps(given)
    values = converted(**given).values
    assert json.dumps(given) == before
    assert values.keys() <= Settings.model_fields.keys()


WHOLE = {"AET": "A", "Host": "h", "Port": 104, "Url": "http://h/"}
ODD = [
    None,
    True,
    False,
    0,
    -1,
    10**400,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\x1b[2J\n",
    "None",
    "1",
    [],
    [1],
    [[]],
    {},
    {"": 1},
    {"a": None},
]
ENTRIES = (
    [{"a": one} for one in ODD]
    + [{"a": [one] * 3} for one in ODD]
    + [{"a": {**WHOLE, key: one}} for key in KEYS for one in ODD]
)


@pytest.mark.parametrize(
    "option", [name for name, one in OPTIONS.items() if one.becomes and "." not in name] + ["LuaScripts", "Unknown"]
)
def test_whatever_stands_there_is_taken_or_refused_in_words(option):
    more = {
        **DICOM_TLS,
        "DicomTlsTrustedCertificates": "ca.pem",
        "SslEnabled": True,
        "RemoteAccessAllowed": True,
        "DicomModalities": {"b": {"AET": "B", "Host": "b", "Port": 1, "UseDicomTls": True}},
    }
    taken = 0
    for value in ODD + (ENTRIES if option in {"DicomModalities", "OrthancPeers"} else []):
        try:
            found = converted(**{**more, option: value})
            made = Settings(**found.values)
        except (ConfigurationError, ValidationError):
            continue
        taken += 1
        assert Settings(**tomllib.loads(tomli_w.dumps(found.values))) == made
        assert all(str(note).isprintable() for note in found.notes)
    assert taken, "even null is refused"


def test_a_value_that_is_wrong_is_told_by_orthancs_name(tmp_path):
    file = tmp_path / "orthanc.json"
    file.write_text(json.dumps({"HttpPort": 99999, "DicomModalities": {"a": {"AET": "A" * 17, "Host": "h"}}}))
    with pytest.raises(ConfigurationError) as refused:
        load(file, environ={})
    said = str(refused.value)
    for name in (
        "HttpPort (http.port)",
        "DicomModalities.a.AET (modalities.a.aet)",
        "DicomModalities.a.Port (modalities.a.port): is missing",
    ):
        assert name in said
    assert str(file) in said


@pytest.mark.parametrize(("options", "missing"), [
    ({"OrthancPeers": {"a": {"url": "http://h/"}}}, ["OrthancPeers.a.Url (peers.a.url)"]),
    ({"OrthancPeers": {"a": [None]}}, ["OrthancPeers.a.Url (peers.a.url)"]),
    ({"DicomWeb": {"Servers": {"a": {"URL": "http://h/"}}}}, ["DicomWeb.Servers.a.Url (dicomweb.a.url)"]),
    ({"DicomModalities": {"a": {"AllowStore": True}}}, [f"DicomModalities.a.{name} (modalities.a.{name.lower()})" for name in ("AET", "Host", "Port")]),
])  # fmt: skip
def test_a_destination_without_what_it_needs_is_refused_and_not_left_out(tmp_path, options, missing):
    assert told(tmp_path, options) == [f"{key}: is missing: add it" for key in missing]


def told(tmp_path, options):
    """Return what is said of a file with these options, without its name."""
    file = tmp_path / "orthanc.json"
    file.write_text(json.dumps(options))
    with pytest.raises(InvalidConfigurationError) as refused:
        load(file, environ={})
    return [line.removeprefix(f"{file}: ") for line in str(refused.value).splitlines()]


@pytest.mark.parametrize(("options", "says"), [
    ({"OrthancPeers": {"a": {"Url": "http://h/", "HttpHeaders": {"X": 5}}}}, ["OrthancPeers.a.HttpHeaders.X (peers.a.headers.X): "]),
    ({"OrthancPeers": {"a": {"Url": "http://h/", "CertificateFile": "/c"}}}, [
        "OrthancPeers.a (peers.a): should have OrthancPeers.a.CertificateFile with its OrthancPeers.a.CertificateKeyFile",
    ]),
    ({"OrthancPeers": {"a": {"Url": "http://u:geheim@h/"}}}, ["write `OrthancPeers.a.Username` and `OrthancPeers.a.Password` instead"]),
    ({"DicomTlsEnabled": True, "DicomTlsRemoteCertificateRequired": False}, ["dicom: should have DicomTlsEnabled with DicomTlsCertificate and DicomTlsPrivateKey"]),
    ({"UserMetadata": {"a": 1024, "b": 1024}}, ["UserMetadata (http.metadata_numbers): should have another number"]),
    ({"RegisteredUsers": {"a:b": "x"}, "AuthenticationEnabled": True}, ['RegisteredUsers.a:b (users."a:b"): ']),
    ({"SslEnabled": True, "SslCertificate": "/x/key_file"}, ["there is no file /x/key_file"]),
])  # fmt: skip
def test_what_is_wrong_is_told_in_orthancs_words(tmp_path, options, says):
    said = told(tmp_path, options)
    for words in says:
        assert any(words in line for line in said), said
    assert "geheim" not in "".join(said)


def test_all_that_is_wrong_is_told_at_one_time(tmp_path):
    said = told(tmp_path, {"HttpPort": 99999, "RemoteAccessAllowed": "yes", "OrthancPeers": {"a": {}, "b": 5}})
    keys = {line.partition(":")[0].partition(" ")[0] for line in said}
    assert keys == {"HttpPort", "RemoteAccessAllowed", "OrthancPeers.a.Url", "OrthancPeers.b"}


def test_how_a_modality_sends_is_its_own_word_and_else_that_of_all():
    entry = {"AET": "A", "Host": "h", "Port": 104}
    found = settings(
        DicomDefaultRetrieveMethod="C-GET",
        DicomModalities={
            "a": entry, "b": {**entry, "RetrieveMethod": "C-MOVE"}, "c": {**entry, "RetrieveMethod": "SystemDefault"},
        },
        QueryRetrieveSize=7,
    )  # fmt: skip
    assert {name: one.retrieve_by for name, one in found.modalities.items()} == {"a": "get", "b": "move", "c": "get"}
    assert found.http.queries == 7


@pytest.mark.parametrize(("given", "storage"), [
    ({}, Storage()),
    ({"MaximumStorageSize": 0, "MaximumPatientCount": 0, "MaximumStorageMode": "Recycle"}, Storage()),
    ({"MaximumStorageSize": 500}, Storage(max_size_mb=500, when_full="recycle")),
    ({"MaximumPatientCount": 7, "MaximumStorageMode": "Recycle"}, Storage(max_patients=7, when_full="recycle")),
    ({"MaximumPatientCount": 7, "MaximumStorageMode": "Reject"}, Storage(max_patients=7, when_full="refuse")),
])  # fmt: skip
def test_how_much_may_be_stored_and_what_is_done_beyond_is_as_it_was(given, storage):
    assert settings(**given).storage == storage
    assert not {"MaximumStorageSize", "MaximumPatientCount", "MaximumStorageMode"} & notes(**given).keys()


@pytest.mark.parametrize("given", [{"MaximumStorageMode": "Drop"}, {"MaximumPatientCount": "x"}])
def test_limits_that_are_none_are_refused(given):
    with pytest.raises(InvalidConfigurationError, match=next(iter(given))):
        settings(**given)


def test_what_users_note_and_attach_has_its_names_numbers_and_media_types():
    given = {
        "CheckRevisions": True,
        "UserMetadata": {"Reviewer": 1024},
        "UserContentType": {"Plan": 1024, "Report": [1025, "application/pdf"]},
    }
    http = Settings(**tomllib.loads(tomli_w.dumps({"http": converted(**given).values["http"]}))).http
    assert http.check_revisions
    assert http.metadata_numbers == {"Reviewer": 1024}
    assert http.attachment_numbers == {"Plan": 1024, "Report": 1025}
    assert http.attachment_types == {"Report": "application/pdf"}


@pytest.mark.parametrize("wrong", [
    {"UserMetadata": {"Reviewer": 1023}},
    {"UserMetadata": {"Reviewer": 1024, "Reader": 1024}},
    {"UserMetadata": ["Reviewer"]},
    {"UserContentType": {"Report": 65536}},
    {"UserContentType": {"Report": [1025]}},
    {"UserContentType": {"Report": [1025, "pdf"]}},
])  # fmt: skip
def test_names_and_numbers_that_are_none_are_refused(wrong):
    with pytest.raises((InvalidConfigurationError, ValidationError)):
        settings(**wrong)
