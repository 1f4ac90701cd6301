"""Every option of Orthanc's configuration that is known here: what becomes of it, or what to use instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

ANY = object()
"""The default of an option that changes nothing for anybody here: it is never told."""

Verdict = Literal["same", "different", "not there"]


@dataclass(frozen=True, slots=True)
class Option:
    """`becomes` names hostd's settings; `remark` says how and why it differs, or what to use instead.

    What is `not there` is told at start, unless it has the value `default`, which is Orthanc's own, or that is `ANY`.
    """

    verdict: Verdict
    becomes: str = ""
    remark: str = ""
    default: Any = None


def _same(becomes: str, remark: str = "") -> Option:
    return Option("same", becomes, remark)


def _different(becomes: str, remark: str) -> Option:
    return Option("different", becomes, remark)


def _gone(remark: str, default: Any = None) -> Option:
    return Option("not there", "", remark, default)


_OF_A_MODALITY = "What its own entry says counts, where Orthanc lets `DicomAlwaysAllow…` win."
_SERVER = "hostd's HTTP server sees to that itself; leave it out"
_PLUGIN = "hostd has no plug-ins of Orthanc's; leave it out"
_THREADS = "hostd shares out its work itself; `transcoding.workers` bounds what codecs take"
_TAGS = "hostd keeps the whole header of every instance; leave it out"
_SCRIPTS = "write it as a script of hostd: docs/from-orthanc.md says what takes the place of what"
_GDCM = "hostd has codecs of its own; docs/transcoding.md lists them"
_OWN_STORAGE = "hostd stores in a folder of its own (`node.data`), or the index in PostgreSQL (`node.database`)"

SYNTAX_GROUPS = {
    "Deflated": ("1.2.840.10008.1.2.1.99",),
    "Jpeg": ("1.2.840.10008.1.2.4.5?", "1.2.840.10008.1.2.4.6?", "1.2.840.10008.1.2.4.70"),
    "Jpeg2000": tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(90, 94)),
    "JpegLossless": ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"),
    "Jpip": ("1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.95"),
    "Mpeg2": ("1.2.840.10008.1.2.4.100*", "1.2.840.10008.1.2.4.101*"),
    "Mpeg4": tuple(f"1.2.840.10008.1.2.4.{number}*" for number in range(102, 107)),
    "Rle": ("1.2.840.10008.1.2.5",),
    "H265": ("1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.108"),
}
"""The transfer syntaxes that each of Orthanc's older switches is about; those of JPEG Lossless are in "Jpeg", as for Orthanc."""

MODALITY_RIGHTS = {
    "AllowEcho": "allow_echo",
    "AllowStore": "allow_store",
    "AllowFind": "allow_find",
    "AllowMove": "allow_move",
    "AllowGet": "allow_get",
    "AllowNAction": "allow_commitment",
    "AllowStorageCommitment": "allow_commitment",
}
"""What Orthanc's modalities may ask for, and hostd's settings."""

OPTIONS: dict[str, Option] = {
    # -- the node
    "Name": _different("`node.name`", "Spaces and the like become `-`."),
    "StorageDirectory": _different(
        "`node.data`", "Never touched: hostd's data goes beside it, into `hostd-data`. `hostd import FOLDER` takes over what is in it."
    ),
    "IndexDirectory": _gone("never touched; " + _OWN_STORAGE, default="OrthancStorage"),
    "SyncStorageArea": _gone("hostd acknowledges only what is on stable storage", default=True),
    "TemporaryDirectory": _gone("what is under way is below `node.data`", default=ANY),
    "ReadOnly": _gone("`[users.NAME]` have roles: `read` sees, and changes nothing", default=False),
    "StorageCompression": _gone("files are stored as DICOM files; `ingest.transcode_to` makes them smaller without loss", default=False),
    "MaximumStorageSize": _different(
        "`storage.max_size_mb`",
        "Versions count, too. What must be delivered, is promised to be kept or is still worked on is never recycled, nor is any other of that patient's.",
    ),
    "MaximumStorageMode": _different(
        "`storage.when_full`", "Absent, it is Recycle, as for Orthanc; in a hostd.toml it is `refuse`. Nobody is recycled for what would not fit even so."
    ),
    "MaximumPatientCount": _different("`storage.max_patients`", "As above."),
    "MaximumStorageCacheSize": _gone("files are read from disk, which the kernel caches; leave it out", default=ANY),
    "StableAge": _same("`stable.quiet_s`"),
    "OverwriteInstances": _different(
        "`ingest.on_conflict`",
        'false and "Never" are `first`, true, "Always" and "IfChanged" are `newest`. What is identical is never stored twice, and'
        " what differs is kept as a version in either case.",
    ),
    "StoreDicom": _gone("hostd stores what it acknowledges", default=True),
    "StoreMD5ForAttachments": _gone("hostd keeps a SHA-256 of every file; leave it out", default=ANY),
    "StorageAccessOnFind": _same("`query.read_files`"),
    "ExtraMainDicomTags": _gone(_TAGS, default=ANY),
    "CheckRevisions": _same("`http.check_revisions`"),
    "UserMetadata": _same("`http.metadata_numbers`", "Any other name will do, too."),
    "UserContentType": _same("`http.attachment_numbers`, `http.attachment_types`", "Any other name will do, too."),
    "Warnings": _gone("`log.level` says how much is told", default={}),
    "Locale": _gone("hostd does not depend on it; leave it out", default=ANY),
    "MallocArenaMax": _gone("hostd does not depend on it; leave it out", default=ANY),
    "DefaultEncoding": _gone("what says nothing of its character set is read as ASCII (PS3.5 §6.1.2.1)", default="Latin1"),
    "DefaultPrivateCreator": _gone("private attributes are named with their creator where they are used", default=""),
    "LoadPrivateDictionary": _gone("pydicom's dictionary of private attributes is used; leave it out", default=ANY),
    "Dictionary": _gone("attributes that no dictionary has are named by their number", default={}),
    "DeidentifyLogs": _gone("hostd's log names instances by UID", default=ANY),
    "DeidentifyLogsDicomVersion": _gone("hostd's log names instances by UID", default=ANY),
    "MetricsEnabled": _gone("`GET /metrics` is always there", default=ANY),
    # -- scripts, plug-ins, jobs
    "LuaScripts": _gone("Lua is not run; " + _SCRIPTS + ", samples/README.md which recipe does what each known sample does", default=[]),
    "LuaHeartBeatPeriod": _gone("`@every(…)` above a function of a script", default=0),
    "ExecuteLuaEnabled": _gone("Lua is not run; `hostd deploy` and `hostd try` are for scripts of hostd", default=False),
    "PythonScript": _gone("plug-ins are not run; " + _SCRIPTS),
    "Python": _gone("scripts run in processes of their own, each with all of Python to itself"),
    "PythonVerbose": _gone("`log.level` says how much is told", default=False),
    "Plugins": _gone("plug-ins are not loaded: hostd has codecs, DICOMweb destinations and scripts of its own", default=[]),
    "JobsEngineThreadsCount": _gone(_THREADS, default=ANY),
    "ConcurrentJobs": _gone("`jobs.at_once`; what is sent is sent by the courier of its destination, over as many `connections` as that has", default=2),
    "JobsHistorySize": _gone("jobs are kept by age, `jobs.keep_days`", default=ANY),
    "SaveJobs": _gone("jobs outlast a restart, always, and so do deliveries; `hostd run --no-jobs` holds those that wait", default=True),
    "LogExportedResources": _gone("`/exports` always tells what was sent, and `hostd deliveries` how; leave it out", default=ANY),
    # -- HTTP
    "HttpServerEnabled": _same("`http.enabled`"),
    "HttpPort": _same("`http.port`"),
    "RemoteAccessAllowed": _different(
        "`http.host`", 'true is "0.0.0.0", and only with users; without, hostd listens on this machine only, and says so.'
    ),
    "AuthenticationEnabled": _different(
        "`[users]`", "Absent, it is as `RemoteAccessAllowed`. true without users is refused, where Orthanc starts, and lets nobody in. false leaves the users out, but where other machines may call: there they stay."
    ),
    "RegisteredUsers": _different(
        "`[users.NAME]`", "Hashed in memory, and by `hostd config convert`; each may do everything (`admin`). There is no user `orthanc` but by name."
    ),
    "SslEnabled": _same("`http.certificate_file`"),
    "SslCertificate": _same("`http.certificate_file`, `http.key_file`", "One file with both."),
    "SslMinimumProtocolVersion": _different("`http.tls_minimum`", "Below TLS 1.2 nothing is spoken."),
    "SslCiphersAccepted": _gone("Python's ciphers are used, which are none that are broken"),
    "SslVerifyPeers": _same("`http.client_ca_file`"),
    "SslTrustedClientCertificates": _same("`http.client_ca_file`"),
    "HttpDescribeErrors": _gone("errors are always described", default=ANY),
    "HttpCompressionEnabled": _gone(_SERVER, default=ANY),
    "HttpThreadsCount": _gone(_SERVER, default=ANY),
    "HttpRequestTimeout": _gone(_SERVER, default=ANY),
    "KeepAlive": _gone(_SERVER, default=ANY),
    "KeepAliveTimeout": _gone(_SERVER, default=ANY),
    "TcpNoDelay": _gone(_SERVER, default=ANY),
    "HttpVerbose": _gone("`log.level` says how much is told", default=False),
    "OrthancExplorerEnabled": _gone("hostd has no pages for people but `/docs`", default=True),
    "WebDavEnabled": _gone("there is no WebDAV; `POST /instances` and C-STORE take files", default=True),
    "WebDavDeleteAllowed": _gone("there is no WebDAV", default=False),
    "WebDavUploadAllowed": _gone("there is no WebDAV", default=True),
    "RestApiWriteToFileSystemEnabled": _gone("`[folders.NAME]` is a destination that files are written to", default=False),
    "ExecuteSystemCommandEnabled": _gone("`[tools.NAME]` names the programs that scripts may run", default=False),
    "MediaArchiveSize": _gone("the ZIP of a job is kept as long as the job (`jobs.keep_days`)", default=ANY),
    "SynchronousZipStream": _gone("it always is", default=True),
    "ZipLoaderThreads": _gone(_THREADS, default=ANY),
    # -- DICOM
    "DicomServerEnabled": _same("`dicom.enabled`"),
    "DicomAet": _same("`dicom.aets`", "Also what hostd calls itself when it sends."),
    "DicomCheckCalledAet": _same("`dicom.check_called_aet`"),
    "DicomPort": _same("`dicom.port`", "On all addresses of the machine, as Orthanc."),
    "DicomScpTimeout": _different("`dicom.timeout_s`", "0, for ever, is not to be had: absent and 0 are 60 s."),
    "MaximumPduLength": _different("`dicom.max_pdu`", "Absent, it is 131072 for 16384, which is quicker."),
    "DicomThreadsCount": _gone("`dicom.max_associations` says how many may be open at one time", default=4),
    "DicomTlsEnabled": _different("`dicom.tls_port`", "The port of `DicomPort` then speaks TLS, and no other is opened."),
    "DicomTlsCertificate": _same("`dicom.certificate_file`", "Also shown to modalities over TLS."),
    "DicomTlsPrivateKey": _same("`dicom.key_file`", "As above."),
    "DicomTlsTrustedCertificates": _same("`dicom.client_ca_file`, `modalities.NAME.ca_file`"),
    "DicomTlsRemoteCertificateRequired": _same("`dicom.client_ca_file`"),
    "DicomTlsMinimumProtocolVersion": _different("`dicom.tls_minimum`", "Below TLS 1.2 nothing is spoken."),
    "DicomTlsCiphersAccepted": _gone("Python's ciphers are used, which are none that are broken", default=[]),
    "DicomAlwaysAllowEcho": _different("`dicom.always_allow_echo`", _OF_A_MODALITY),
    "DicomAlwaysAllowStore": _different("`dicom.always_allow_store`", _OF_A_MODALITY),
    "DicomAlwaysAllowFind": _different("`dicom.always_allow_find`", _OF_A_MODALITY),
    "DicomAlwaysAllowFindWorklist": _gone("there is no worklist", default=False),
    "DicomAlwaysAllowGet": _different("`dicom.always_allow_get`", _OF_A_MODALITY),
    "DicomAlwaysAllowMove": _different("`dicom.always_allow_move`", _OF_A_MODALITY),
    "DicomCheckModalityHost": _different(
        "`dicom.check_modality_host`", "Absent, it is true for false: an AE title is no secret. It counts for what not everybody may."
    ),
    "StorageCommitmentReportsSize": _gone("every request for storage commitment is on record, and reported on until the report is taken", default=100),
    "DicomDefaultRetrieveMethod": _same("`modalities.NAME.retrieve_by`"),
    "DicomEchoChecksFind": _gone("hostd asks by C-ECHO only", default=False),
    "StrictAetComparison": _same("`dicom.strict_aet_comparison`", "Absent, it is false, as for Orthanc; in a hostd.toml it is true"),
    "AcceptedTransferSyntaxes": _same(
        "`dicom.accepted_transfer_syntaxes`", "UIDs with `*` and `?`, or one text; names are taken too. Standard ones that Orthanc does not know yet are taken as well"
    ),
    **{
        f"{group}TransferSyntaxAccepted": _same(
            "`dicom.accepted_transfer_syntaxes`, `dicom.rejected_transfer_syntaxes`", f"{', '.join(uids)}"
        )
        for group, uids in SYNTAX_GROUPS.items()
    },
    "UnknownSopClassAccepted": _different(
        "`dicom.accept_unknown_sop_classes`", "What is under the standard's root of storage SOP classes is always taken, also if it is newer than hostd."
    ),
    "AcceptedSopClasses": _same("`dicom.accepted_sop_classes`", "An empty list is all of them"),
    "RejectedSopClasses": _same("`dicom.rejected_sop_classes`"),
    "CaseSensitivePN": _different("`query.case_sensitive_pn`", "Where case does not count, accents on Latin letters do not either."),
    "LimitFindResults": _different("`query.limit_results`", "A C-FIND that finds more ends with 0xA700, by which who asks knows that there is more."),
    "LimitFindInstances": _different("`query.limit_instances`", "As above."),
    "AllowFindSopClassesInStudy": _same("`query.sop_classes_in_study`"),
    "SynchronousCMove": _gone("who asks by C-MOVE hears of each instance as it is sent; the end is told when all are", default=True),
    "QueryRetrieveSize": _different("`http.queries`", "0, for any number, is not there: 100,000 then."),
    # -- sending
    "DicomModalities": _different("`[modalities.NAME]`", "Array or object. What each may hold is below."),
    "DicomModalities.AET": _same("`aet`"),
    "DicomModalities.Host": _same("`host`"),
    "DicomModalities.Port": _same("`port`"),
    "DicomModalities.LocalAet": _same("`calling_aet`"),
    "DicomModalities.Timeout": _different("`timeout_s`", "0 is that of `DicomScuTimeout`."),
    "DicomModalities.UseDicomTls": _different("`tls`", "Whose certificate is trusted is checked, the name in it is not, as by Orthanc: `tls_check_name`."),
    "DicomModalities.AllowTranscoding": _same("`allow_transcoding`"),
    "DicomModalities.RetrieveMethod": _same("`retrieve_by`"),
    "DicomModalities.Manufacturer": _gone("hostd speaks to all as the standard has it", default="Generic"),
    **{
        f"DicomModalities.{name}": _same(f"`{setting}`") for name, setting in MODALITY_RIGHTS.items()
    },
    "DicomModalities.AllowFindWorklist": _gone("there is no worklist", default=True),
    "DicomModalities.AllowEventReport": _gone(
        "reports of storage commitment are taken from whoever names the transaction; its entry's `commitment` has it asked", default=True
    ),
    "DicomModalitiesInDatabase": _gone("modalities stand in the configuration, which wins, or in the index, where `PUT /modalities/NAME` puts them", default=False),
    "DicomScuTimeout": _different("`delivery.timeout_s`", "0, for ever, is not to be had: absent and 0 are 30 s."),
    "DicomAssociationCloseDelay": _different("`delivery.linger_s`", "Absent, it is 1 s for 5 s."),
    "DicomScuPreferredTransferSyntax": _different("`modalities.NAME.prefer`", "Never one that loses information: a script asks for that."),
    "TranscodeDicomProtocol": _same("`dicom.transcode`, `modalities.NAME.allow_transcoding`"),
    "EnableTranscoding": _gone("Orthanc has no such option either, although its text names it: `TranscodeDicomProtocol` is meant"),
    "OrthancPeers": _different("`[peers.NAME]`", "Array or object. What each may hold is below."),
    "OrthancPeers.Url": _same("`url`"),
    "OrthancPeers.Username": _same("`username`"),
    "OrthancPeers.Password": _same("`password`, `password_env`", "One that is `${VARIABLE}` stays a variable, also in what `convert` writes."),
    "OrthancPeers.HttpHeaders": _same("`headers`"),
    "OrthancPeers.Timeout": _different("`timeout_s`", "0 is that of `HttpTimeout`."),
    "OrthancPeers.CertificateFile": _same("`client_certificate_file`"),
    "OrthancPeers.CertificateKeyFile": _same("`client_key_file`"),
    "OrthancPeers.CertificateKeyPassword": _gone("hostd takes keys without a passphrase: `openssl pkey` takes it off", default=""),
    "OrthancPeers.Pkcs11": _gone("hostd takes keys from files", default=False),
    "OrthancPeersInDatabase": _gone("peers stand in the configuration, which wins, or in the index, where `PUT /peers/NAME` puts them", default=False),
    "HttpTimeout": _different("`peers.NAME.timeout_s`", "0, for ever, is not to be had: absent and 0 are 30 s."),
    "HttpsVerifyPeers": _gone("certificates are always checked; `HttpsCACertificates` says which are trusted", default=True),
    "HttpsCACertificates": _same("`peers.NAME.ca_file`"),
    "HttpProxy": _gone("hostd uses no proxy", default=""),
    "Pkcs11": _gone("hostd takes keys from files"),
    # -- transcoding
    "IngestTranscoding": _different(
        "`ingest.transcode_to`", "The pixels are compared before the original is let go; what cannot be brought to it is told, and marked."
    ),
    "IngestTranscodingOfUncompressed": _same("`ingest.of_uncompressed`"),
    "IngestTranscodingOfCompressed": _same("`ingest.of_compressed`"),
    "DicomLossyTranscodingQuality": _different(
        "`ingest.quality`", "Where `IngestTranscoding` loses information, whichever the codec; for JPEG-LS it is `near = 2`, as Orthanc's."
    ),
    "BuiltinDecoderTranscoderOrder": _different(
        "`transcoding.builtin`", '"Before" and "After" stand relative to `[tools]`. "Disabled" changes nothing: hostd\'s own codecs do what plug-ins did.'
    ),
    "MaximumConcurrentDcmtkTranscoders": _different("`transcoding.workers`", "0 is hostd's default, 2."),
    "TranscoderThreadsCount": _gone(_THREADS, default=ANY),
    "TranscoderMemoryCapacity": _gone("`transcoding.memory_mb` bounds each codec process", default=256),
    "TranscoderCacheSize": _gone("what is transcoded for one destination serves the others too; leave it out", default=ANY),
    **{name: _gone(_GDCM) for name in ("Gdcm", "Gdcm.Enable", "Gdcm.Throttling", "Gdcm.RestrictTransferSyntaxes")},
    # -- of plug-ins
    "DicomWeb": _gone("its `Servers` are destinations; hostd answers DICOMweb at `/dicom-web`, always, and WADO-URI at `/wado`"),
    "DicomWeb.Servers": _different("`[dicomweb.NAME]`", "As peers. What they are told to have besides is of no account here."),
    "Worklists": _gone("there is no worklist"),
    "Transfers": _gone("`[peers.NAME]` has `connections` and `compress`"),
    "Housekeeper": _gone("hostd looks after its index and files itself"),
    "DelayedDeletion": _gone("what is deleted goes after `node.trash_days`"),
    "AdvancedStorage": _gone(_OWN_STORAGE),
    "PostgreSQL": _gone("`node.database` has the index in a PostgreSQL database of its own"),
    "MySQL": _gone(_OWN_STORAGE),
    "Odbc": _gone(_OWN_STORAGE),
    "AwsS3Storage": _gone(_OWN_STORAGE),
    "AzureBlobStorage": _gone(_OWN_STORAGE),
    "GoogleCloudStorage": _gone(_OWN_STORAGE),
    "Authorization": _gone("`[users.NAME]` has roles, `filter_http_request` in a script refuses requests"),
    "OrthancExplorer2": _gone(_PLUGIN),
    "StoneWebViewer": _gone(_PLUGIN),
    "WebViewer": _gone(_PLUGIN),
    "OHIF": _gone(_PLUGIN),
    "ServeFolders": _gone(_PLUGIN),
}  # fmt: skip


def remark_on(option: str, value: Any) -> str | None:
    """Return what to say of an option that hostd does not have, None when there is nothing to say: it is as Orthanc's default, or it is had."""
    known = OPTIONS.get(option)
    if known is None:
        table, _, name = option.rpartition(".")
        names = [one.rpartition(".")[2] for one in OPTIONS if one.rpartition(".")[0] == table]
        near = get_close_matches(name, names, n=1, cutoff=0.75)
        return f"is not known, and is left out{f'; did you mean {near[0]}?' if near else ''}"
    if known.verdict != "not there" or known.default is ANY or (known.default is not None and value == known.default):
        return None
    return known.remark


def page_rows() -> Iterator[str]:
    """Yield the rows of the table in docs/orthanc.md."""
    yield "| option | here | hostd's setting | remarks |"
    yield "|---|---|---|---|"
    for name, option in OPTIONS.items():
        remark = option.remark if option.remark.startswith("hostd") else option.remark[:1].upper() + option.remark[1:]
        if remark and not remark.endswith("."):
            remark += "."
        yield f"| `{name}` | {option.verdict} | {option.becomes} | {remark} |"


if __name__ == "__main__":
    print("\n".join(page_rows()))  # noqa: T201 - what is asked for
