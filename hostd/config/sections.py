"""The sections of the configuration: one model a section, one field a setting.

A field's description is what docs/configuration.md says of it; its unit is in its name, its type or its description.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from argon2 import extract_parameters
from argon2.exceptions import InvalidHashError
from argon2.low_level import Type
from pydantic import Field, SecretStr, field_validator, model_validator

from hostd.config.accepting import Accepting, Allowed
from hostd.config.credentials import Certified
from hostd.config.forwarding import Asking
from hostd.config.http_access import HttpAccess
from hostd.config.index_access import IndexAccess
from hostd.config.section import Section
from hostd.config.serving import Serving
from hostd.config.values import (
    AeTitle,
    AeTitles,
    Count,
    Days,
    FilePath,
    Host,
    ListenPort,
    MediaType,
    ModalityCode,
    NodeName,
    NotedName,
    Port,
    Seconds,
    Strings,
    TimeZone,
    UserNumber,
    Wait,
)
from hostd.dicom.syntaxes import TransferSyntax, UnknownSyntaxError, lookup

CAPABILITIES = (
    "anonymize", "delete", "filters", "http", "lossy", "modify", "query", "replace", "retrieve", "store", "tools",
)  # fmt: skip
"""What `may` can allow."""


class Node(IndexAccess):
    """The node itself: its name, its folders, and how long it keeps what it no longer needs."""

    name: NodeName = Field(default="hostd", description="The node's name. No two nodes on one database may share it.")
    scripts: FilePath = Field(
        default=Path("./scripts"), description="The folder of scripts; each file NAME.py in it is a script."
    )
    trash_days: Days = Field(default=1.0, description="Days that a deleted file waits before its bytes go.")
    events_days: Days = Field(
        default=30.0, description="Days that events are kept for rehearsal, also after all scripts have passed them."
    )
    associations_days: Days = Field(default=90.0, description="Days that the record of an association is kept.")
    notifications_days: Days = Field(
        default=90.0, description="Days that notifications are kept after they were sent, or failed."
    )
    finished_days: Days = Field(
        default=90.0,
        description="Days that finished deliveries, runs and receipts are kept; what says that a stored instance was delivered, or that a delivery"
        " failed, is kept whatever its age. The figures of `/metrics` stay.",
    )
    min_free_mb: Annotated[int, Field(ge=0)] = Field(
        default=1024,
        description="Megabytes (MiB) that should be free for the data folder: with less, `on_disk_low` is told. 0: it never is.",
    )
    refuse_below_mb: Annotated[int, Field(ge=0)] = Field(
        default=100,
        description="Megabytes (MiB) free for the data folder below which nothing more is taken in: associations that would store are rejected"
        " as transient, HTTP answers 507, until a quarter more is free. Never more than a twentieth of the disk. 0: never.",
    )
    allow_insecure_permissions: bool = Field(
        default=False,
        description="Use the configuration and the scripts folder even though other users may write them.",
    )


class Dicom(Serving, Accepting):
    """The DICOM face: where other systems send by C-STORE, and ask."""

    enabled: bool = Field(default=True, description="Whether to listen for associations.")
    host: Host = Field(
        default="127.0.0.1", description="The address to listen on. Beyond loopback anyone who reaches it may send."
    )
    port: ListenPort = Field(default=4242, description="The TCP port to listen on; 0: any free one.")
    tls_port: ListenPort | None = Field(
        default=None,
        description="The TCP port to listen on over TLS, too; 0: any free one; the same as `port`: over TLS only. Absent: none."
        " It needs `certificate_file`.",
    )
    aets: AeTitles = Field(
        default=("HOSTD",),
        description="The AE titles that the node answers to; the first is also its own when it calls.",
    )
    check_called_aet: bool = Field(
        default=False, description="Reject an association that calls an AE title not in `aets`."
    )
    max_associations: Count = Field(
        default=100, description="How many associations may be open at one time; more are rejected."
    )
    timeout_s: Seconds = Field(default=60.0, description="Seconds that a silent association stays open.")
    max_pdu: int = Field(
        default=131072, ge=4096, le=16777216, description="Bytes of the largest PDU to receive (PS3.8 Annex D.1)."
    )

    @model_validator(mode="after")
    def _port_has_its_certificate(self) -> Self:
        if (self.tls_port is None) != (self.certificate_file is None):
            raise ValueError("should have tls_port with certificate_file and key_file, or none of them")
        return self


class Http(Serving):
    """The HTTP face: Orthanc-compatible routes, pages and metrics. With `certificate_file` it is HTTPS."""

    enabled: bool = Field(default=True, description="Whether to listen for HTTP.")
    host: Host = Field(default="127.0.0.1", description="The address to listen on. Beyond loopback only with users.")
    port: ListenPort = Field(default=8042, description="The TCP port to listen on; 0: any free one.")
    queries: Count = Field(
        default=100,
        description="How many queries of other archives are remembered for `/queries`; the oldest goes first.",
    )
    max_upload_mb: Count = Field(default=4096, description="Megabytes (MiB) of the largest upload in one request.")
    timeout_s: Seconds = Field(
        default=60.0,
        description="Seconds that who calls may send nothing more of an upload, or take nothing more of an answer; then the connection is closed.",
    )
    max_requests: Count = Field(
        default=500,
        description="How many requests are worked on at one time; more are answered with 503 and `Retry-After`."
        " An upload that comes has up to half a megabyte in memory.",
    )
    check_revisions: bool = Field(
        default=False,
        description="Whether metadata and attachments are changed only by who says which state is meant, by `If-Match`.",
    )
    metadata_numbers: dict[NotedName, UserNumber] = Field(
        default={}, description="Names of metadata that clients also call by a number, as `Reviewer = 1024`."
    )
    attachment_numbers: dict[NotedName, UserNumber] = Field(
        default={}, description="Names of attachments that clients also call by a number, as `Report = 1024`."
    )
    attachment_types: dict[NotedName, MediaType] = Field(
        default={},
        description='Media types that attachments are given with, by their names, as `Report = "application/pdf"`.',
    )

    @field_validator("metadata_numbers", "attachment_numbers")
    @classmethod
    def _each_number_has_one_name(cls, numbers: dict[str, int]) -> dict[str, int]:
        if len({*numbers.values()}) < len(numbers):
            raise ValueError("should have another number for each name")
        return numbers


class Transcoding(Section):
    """The codec processes."""

    enabled: bool = Field(
        default=True, description="Transcode on ingest as `[ingest]` says. false: everything is kept as received."
    )
    workers: Count = Field(
        default=2,
        description="How many codec processes may work at one time. Ingest uses all but one of them, which is left to deliveries; what a sender"
        " waits for and is soon done, up to 4 MiB, may have that too. Of one, deliveries and ingest take turns.",
    )
    memory_mb: Annotated[int, Field(ge=128)] = Field(
        default=2048, description="Megabytes (MiB) that one codec process may use."
    )
    time_limit_s: Seconds = Field(
        default=600.0, description="Seconds that one transcode may take, or one look at the pixels for a script."
    )
    builtin: Literal["before", "after", "disabled"] = Field(
        default="before",
        description="Where hostd's own codecs stand relative to `[tools]`: `before`, a tool only where they cannot do it; `after`,"
        " tools first; `disabled`, tools only.",
    )


class Stable(Section):
    """Quiet time: a series, study or patient of which nothing more has come for so long is told as stable."""

    quiet_s: Seconds = Field(default=60.0, description="Seconds without another instance after which it is stable.")
    by_modality: dict[ModalityCode, Seconds] = Field(
        default={},
        description="Seconds for modalities (0008,0060) that take another time, as `CT = 120`. A study or patient waits the longest of what came.",
    )

    def quiet_of(self, modality: str) -> float:
        """Return the quiet time for what has that value of Modality (0008,0060), in seconds."""
        return self.by_modality.get(modality, self.quiet_s)

    @property
    def shortest_s(self) -> float:
        """The shortest of the quiet times, in seconds."""
        return min((self.quiet_s, *self.by_modality.values()))


class Scripting(Section):
    """How scripts are run; what one script may do is in its own entry, `[scripts."NAME.py"]`."""

    isolation: Literal["required", "best-effort"] = Field(
        default="required",
        description="`required`: run no script where the kernel cannot jail its process; `best-effort`: jail as well as it can.",
    )
    forget_after_days: Days = Field(
        default=30.0, description="Days after which a script whose file is gone no longer holds events."
    )
    time_zone: TimeZone | None = Field(
        default=None,
        description="The time zone of `@cron(…)`, as `Europe/Berlin`. Absent: that of the machine; say it where several nodes share an index.",
    )
    rescan_s: Seconds = Field(
        default=30.0, description="Seconds between looks at the scripts folder, besides the kernel's hints."
    )
    attempts: Count = Field(
        default=3, description="How many failures of a script at one event before that event is parked."
    )
    filter_workers: Count = Field(
        default=2,
        description="How many processes each script with filters has for them: so many may be asked at one time.",
    )
    filter_time_limit_s: Seconds = Field(
        default=0.25,
        description="Seconds that one filter may take; after it, what it was asked about is refused.",
    )
    park_after: Annotated[int, Field(ge=0)] = Field(
        default=10,
        description="How many events parked in a row park the script itself: it rests, and its events wait. 0: never.",
    )
    max_hops: Count = Field(
        default=10,
        description="How many acts of scripts (deliveries, changes, requests) may follow from one another, each asked for at the event of the"
        " one before; after them nothing more is done, and what was asked for says so.",
    )
    reload: Literal["auto", "manual"] = Field(
        default="auto",
        description="`auto`: a good edit of a script takes over at once; `manual`: it waits for `hostd deploy`.",
    )


class Delivery(Section):
    """How deliveries are tried, and tried again."""

    first_retry_s: Seconds = Field(
        default=5.0, description="Seconds before the second attempt; the wait doubles with each attempt."
    )
    max_retry_s: Seconds = Field(default=3600.0, description="Seconds of the longest wait between two attempts.")
    batch: Count = Field(
        default=100,
        description="How many deliveries go over one connection before it is closed, where a destination says nothing else.",
    )
    linger_s: Wait = Field(
        default=1.0,
        description="Seconds that a connection over which all was sent waits for more, where a destination says nothing else.",
    )
    timeout_s: Seconds = Field(
        default=30.0, description="Seconds to wait for an answer, where a destination says nothing else."
    )
    calling_aet: AeTitle = Field(
        default="HOSTD", description="The AE title the node calls itself. Absent: the first of `dicom.aets`."
    )

    @model_validator(mode="after")
    def _waits_grow(self) -> Self:
        if self.max_retry_s < self.first_retry_s:
            raise ValueError("max_retry_s is less than first_retry_s: make it at least that")
        return self


class Jobs(Section):
    """Jobs: what is asked for by HTTP and takes a while, as sending, modifying or packing many instances."""

    at_once: Annotated[int, Field(ge=1, le=64)] = Field(
        default=4,
        description="How many jobs may be worked on at one time; one that waits for deliveries does not count.",
    )
    keep_days: Days = Field(
        default=7.0, description="Days that a job is shown after it has ended, and its output kept."
    )
    synchronous_limit_s: Seconds = Field(
        default=600.0,
        description="Seconds that a request waits for its job, where it does not ask for it with `Asynchronous`; after them the job is cancelled.",
    )


class Modality(Certified, Asking, Allowed):
    """A destination that speaks DICOM, by C-STORE; and whoever calls hostd by its AE title."""

    KIND: ClassVar[str] = "modality"

    aet: AeTitle = Field(description="Its AE title.")
    host: Host = Field(description="Its host name or address.")
    port: Port = Field(description="Its TCP port.")
    calling_aet: AeTitle | None = Field(
        default=None, description="The AE title to call it with. Absent: that of `[delivery]`."
    )
    timeout_s: Seconds = Field(
        default=30.0, description="Seconds to wait for its answer. Absent: that of `[delivery]`."
    )
    prefer: str = Field(
        default="explicit",
        description="The transfer syntax to bring an instance to when it does not take the one it has: UID, keyword or short name.",
    )
    tls: bool = Field(default=False, description="Whether it is spoken to over TLS.")
    tls_minimum: Literal["1.2", "1.3"] = Field(default="1.2", description="The oldest version of TLS to speak.")
    tls_name: Host | None = Field(default=None, description="The name that its certificate must bear. Absent: `host`.")
    tls_check_name: bool = Field(
        default=True,
        description="Whether its certificate must bear that name. Without, let `ca_file` be its own certificate, or any that `ca_file` trusts passes.",
    )

    @model_validator(mode="after")
    def _certificates_need_tls(self) -> Self:
        if not self.tls and (self.ca_file or self.client_certificate or self.tls_name):
            raise ValueError("has settings of TLS, but tls is off: write tls = true")
        return self

    require: str | None = Field(
        default=None,
        description="The only transfer syntax to send to it, lossless: UID, keyword or short name. What cannot be brought to it fails.",
    )
    allow_transcoding: bool = Field(
        default=True, description="false: an instance is sent as it is, or as a script asked for it, or not at all."
    )

    commitment: bool = Field(
        default=False,
        description="Ask it for storage commitment of what it took (PS3.4 Annex J). It must know where hostd listens for its report.",
    )
    commit_timeout_s: Seconds = Field(
        default=3600.0, description="Seconds to wait for its report; what it says nothing of by then is asked for anew."
    )

    retrieve_by: Literal["move", "get"] = Field(
        default="move",
        description="How it is had to send what it has here: by C-MOVE, for which it must know hostd's AE title and where that listens, or by"
        " C-GET, on the association that hostd makes.",
    )
    query_timeout_s: Seconds = Field(
        default=10.0, description="Seconds that `host.query` may take, for which the script's run waits."
    )
    retrieve_timeout_s: Seconds = Field(
        default=300.0, description="Seconds that it may be silent in the middle of a C-MOVE or C-GET."
    )

    @field_validator("prefer", "require")
    @classmethod
    def _syntax_exists(cls, name: str | None) -> str | None:
        try:
            syntax = lookup(name) if name is not None else None
        except UnknownSyntaxError as error:
            raise ValueError(str(error)) from error
        if syntax is not None and syntax.is_lossy:
            raise ValueError(f"{syntax.keyword} may lose information: name a lossless one; a script may send others")
        return name

    @model_validator(mode="after")
    def _require_means_transcoding(self) -> Self:
        if self.require is not None and not self.allow_transcoding:
            raise ValueError("has both `require` and `allow_transcoding = false`: keep one of them")
        return self

    @property
    def commitment_wait_s(self) -> float | None:
        """Seconds after which it is asked for storage commitment anew; None: it is not asked."""
        return self.commit_timeout_s if self.commitment else None

    @property
    def preferred_syntax(self) -> TransferSyntax:
        """The transfer syntax that `prefer` names."""
        return lookup(self.prefer)


class Peer(HttpAccess):
    """A destination that speaks Orthanc's HTTP interface."""

    KIND: ClassVar[str] = "peer"

    compress: bool = Field(
        default=False, description="Send compressed (gzip): for slow lines and uncompressed instances."
    )


class Script(Section):
    """What one script may do, its limits, and its own settings. A script without an entry has the defaults."""

    destinations: Strings | None = Field(default=None, description="The destinations it may send to. Absent: all.")
    may: Strings = Field(
        default=(),
        description=f"What it may do beyond the default: {', '.join(map(repr, CAPABILITIES))}.".replace("'", '"'),
    )
    channels: Strings = Field(default=(), description="The channels of `[notify]` that it may use. Absent: none.")
    time_limit_s: Seconds = Field(default=5.0, description="Seconds that one run may take.")
    memory_mb: Annotated[int, Field(ge=64)] = Field(
        default=256, description="Megabytes (MiB) that its process may use."
    )
    workers: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1,
        description="How many processes run it at one time. With more than one, only events of the same study keep their order.",
    )
    max_actions: Count = Field(default=1000, description="How many actions one run may ask for.")
    log_kb: Count = Field(default=64, description="Kilobytes (KiB) that one run may log.")
    actions_per_day: Count | None = Field(
        default=None, description="How many actions it may ask for in 24 hours; beyond that it is parked. Absent: any."
    )
    bytes_per_day: Count | None = Field(
        default=None,
        description="How many bytes of stored files it may forward in 24 hours; beyond that it is parked. Absent: any.",
    )
    start: Literal["now", "beginning"] = Field(
        default="now",
        description="A new script begins with the events from `now` on, or from the `beginning` of the event log.",
    )
    config: dict[str, Any] = Field(default={}, description="Its own settings, which it reads as `host.config`.")

    @field_validator("may")
    @classmethod
    def _known_capabilities(cls, may: tuple[str, ...]) -> tuple[str, ...]:
        known = ", ".join(f'"{c}"' for c in CAPABILITIES)
        for capability in may:
            if capability not in CAPABILITIES:
                near = get_close_matches(capability, CAPABILITIES, n=1, cutoff=0.5)
                hint = f'did you mean "{near[0]}"? ' if near else ""
                raise ValueError(f'there is no capability "{capability}"; {hint}What can be allowed: {known}')
        return may


class User(Section):
    """A user of the HTTP face, by Basic authentication."""

    password_hash: SecretStr = Field(description="The argon2id hash that `hostd config hash-password` prints.")
    role: Literal["read", "write", "admin"] = Field(
        default="read", description="`read` sees, `write` also stores and sends, `admin` may do everything."
    )

    @field_validator("password_hash")
    @classmethod
    def _is_argon2id(cls, hashed: SecretStr) -> SecretStr:
        try:
            known = extract_parameters(hashed.get_secret_value()).type is Type.ID
        except InvalidHashError:
            known = False
        if not known:
            raise ValueError("is not an argon2id hash: run `hostd config hash-password` and paste what it prints")
        return hashed


class Log(Section):
    """What the node says about itself, on standard error."""

    format: Literal["text", "json"] = Field(
        default="text", description="`text` for people, `json` (a line an entry) for machines."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least level to write.")
