"""What host and worker say to each other, in frames of `hostd.sandbox.channel`.

Both sides decode into the types below and refuse everything else. Never pickle: what comes back from a process that ran
a stranger's script is data, and is treated as hostile data.

An element's values travel as they stand in the file, so that they are converted only when a script asks for them:
text VRs as strings without padding, binary numbers as numbers, AT as integers, bytes for OB and its kin, and for SQ a
list of items. `None` instead of a list says that the value is too large to travel and can be asked for.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from hostd.sandbox import acts, situations
from hostd.sandbox.channel import encoded

EXIT_DONE, EXIT_PROTOCOL, EXIT_MEMORY = 0, 70, 71
"""Exit codes by which a worker tells the host why it left."""
MAX_FRAME = 8 << 20
"""Bytes. A frame that claims more ends the connection; what a worker sends is further limited by `MAX_RESULT`."""
MAX_RESULT = 1 << 20
"""Bytes that a worker may send in one frame."""
MAX_VALUE = 1 << 20
"""Bytes, as encoded, of one value that a script asks for."""
MAX_VALUES = 8 << 20
"""Bytes of all values that one run asks for."""
MAX_BINS = 256
"""Bins of a histogram."""

Elements = dict[int, tuple[str, list[Any] | None]]
"""Tag → (VR, values); an item of a sequence is again `Elements`."""


def packed(elements: Elements) -> bytes:
    """Return elements as they travel: encoded, so that the other side decodes them when a script asks for one."""
    return encoded(elements)


def unpacked(tags: bytes) -> Elements:
    """Return the elements that travelled."""
    return _ELEMENTS.decode(tags)


_ELEMENTS = msgspec.msgpack.Decoder(Elements)


# -- host to worker ---------------------------------------------------------------------------------------------------


class Syntax(msgspec.Struct, frozen=True):
    """A transfer syntax as a script sees it."""

    uid: str
    keyword: str
    is_compressed: bool
    is_lossy: bool


class Load(msgspec.Struct, frozen=True, tag="load"):
    """The script to run, and all it needs to know of the world."""

    name: str
    source: str
    keywords: dict[str, tuple[int, str]]
    """DICOM keyword → (tag, VR)."""
    syntaxes: dict[str, Syntax]
    """Every name a person may use (UID, keyword, short name) → syntax."""
    lossless_of: dict[str, str]
    """UID of a syntax that may lose information → short name of the lossless one to name in an error."""
    destinations: list[str]
    """What `to=` may name for this script."""
    known_destinations: list[str]
    """What the configuration has, allowed to this script or not: for a better refusal."""
    may: list[str]
    channels: list[str] = []
    """What `host.notify` may name for this script."""
    known_channels: list[str] = []
    tools: list[str] = []
    """The external tools that the configuration has."""
    targets: list[str] = []
    """The systems that the configuration has for `host.http_get` and its kin."""
    modalities: list[str] = []
    """The modalities that the configuration has, for `host.query` and `host.retrieve`."""
    aets: list[str] = []
    """hostd's own AE titles."""
    projects: list[str] = []
    """The projects for which instances can be de-identified."""
    config: dict[str, Any] = {}
    max_actions: int = 1000
    max_log_bytes: int = 65536
    memory_bytes: int = 256 << 20
    helpers: dict[str, str] = {}
    """The user's own modules that the script may import: `rules` for `lib.rules` → source."""
    zones: dict[str, bytes] = {}
    """The time zones that it may use: name → TZif (RFC 8536)."""


class Origin(msgspec.Struct, frozen=True):
    """Where an instance came from."""

    kind: Literal["dicom", "http", "script", "import"]
    calling_aet: str | None = None
    called_aet: str | None = None
    ip: str | None = None
    username: str | None = None
    modality: str | None = None
    association: int | None = None
    script: str | None = None
    hops: int | None = None


class Receipt(msgspec.Struct, frozen=True):
    """How the transcode of an instance on ingest ended."""

    outcome: Literal["made", "kept original"]
    reason: str
    codec: str
    ratio: float
    verified_by: str
    source_syntax: Syntax
    result_syntax: Syntax


class Instance(msgspec.Struct, frozen=True):
    """An instance as it was at an event; `tags` are the elements that travel with the event: see `packed`."""

    id: str
    sop_instance_uid: str
    sop_class: str
    series_instance_uid: str
    study_instance_uid: str
    patient_id: str
    transfer_syntax: Syntax
    has_pixels: bool
    frames: int
    size: int
    origin: Origin
    tags: bytes
    receipt: Receipt | None = None
    """None when nothing was to be transcoded as it arrived."""
    changes: list[str] = []
    """What was changed: content, metadata, labels; empty unless the event is about a change."""


class PixelFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the samples of an instance come to, those of all channels of all frames together.

    They are the stored values: shifted to bit 0, masked to Bits Stored, with their sign; no lookup table is applied. Colours are red,
    green and blue. Bin i counts the values from `min + i * bin_width` up to the next bin.
    """

    min: int
    max: int
    mean: float
    histogram: Annotated[tuple[int, ...], msgspec.Meta(max_length=MAX_BINS)]
    bin_width: int
    is_blank: bool
    """All pixels are alike, those left out that have Pixel Padding Value or lie between it and Pixel Padding Range Limit."""


class Level(msgspec.Struct, frozen=True):
    """A series, study or patient as it was at an event. UIDs of lower levels are ''."""

    level: Literal["series", "study", "patient"]
    id: str
    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    count: int
    tags: Elements
    """Its attributes and those of the levels above, as its newest instance has them."""
    known: list[int]
    """Tags of the attributes that a level has, there or not; all others are its instances'."""
    new: int = 0
    occurrence: int = 0
    changes: list[str] = []


class Association(msgspec.Struct, frozen=True):
    """An association that has ended."""

    id: int
    at: float
    ended_at: float
    calling_aet: str
    called_aet: str
    ip: str
    ended: str
    reason: str
    received: int
    stored: int
    failed: int
    bytes: int


class Event(msgspec.Struct, frozen=True, tag="event"):
    """Run one handler. It is about an instance, a level or an association; about none for `on_start` and `on_stop`, which take `host` only."""

    id: int
    handler: str
    now: float
    instance: Instance | None = None
    level: Level | None = None
    association: Association | None = None
    told: situations.Situation | None = None
    """What an event about a delivery, a destination, a script or the node tells."""


class HttpRequest(msgspec.Struct, frozen=True):
    """A request to the HTTP face, as a filter sees it; header names are in lower case."""

    method: str
    uri: str
    ip: str | None
    username: str | None
    headers: dict[str, str]


class FindQuery(msgspec.Struct, frozen=True):
    """What an archive is asked by C-FIND, as a filter sees it; `origin` is who asks hostd, None where hostd asks."""

    level: Literal["patient", "study", "series", "instance"]
    keys: Elements
    origin: Origin | None = None


class Filter(msgspec.Struct, frozen=True, tag="filter"):
    """Run one filter: on an instance that is received, one that goes to a destination, a request, or a query."""

    id: int
    handler: str
    instance: Instance | None = None
    destination: str | None = None
    destination_aet: str | None = None
    """Of a destination that is a modality: its AE title, and its host name or address."""
    destination_host: str | None = None
    request: HttpRequest | None = None
    query: FindQuery | None = None


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """The answer to a question, or why there is none.

    To `value`: the list of values, as in `Elements`; empty when the element is absent. To `members`: the next of them as pairs of place
    and `Instance`, empty after the last. To `first`: a list of one `Instance` or none. To `origins`: a list of `Origin`. To `marks`: its metadata,
    and the list of its labels. To `find`: the number of the search, and how many were found. To `found`: the next of them, `Instance` or
    `Level`, None for what is gone. To `delivered_to`: a truth. To `state`: a dict. To `product`: its size, and that of its source. To
    `pixels`: a list of one `PixelFacts`. To `query`: a list of `Elements`.
    """

    id: int
    value: Any = None
    error: str | None = None
    too_large: bool = False
    """The error is that the value is over a limit: the script gets `ValueTooLarge`, otherwise `ValueError`."""


# -- worker to host ---------------------------------------------------------------------------------------------------


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="hello"):
    """The worker has entered its jail; which layers are in force."""

    layers: dict[str, int]


class Finding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that reading the script found: line 1-based, column 0-based, `kind` says what `name` is.

    `file` is that of a helper module ("lib/rules.py"), '' the script's own.
    """

    kind: Literal[
        "handler", "unknown_handler", "schedule", "keyword", "unknown_keyword", "problem", "argument", "not_allowed",
        "destination", "tool", "project", "channel", "target", "modality", "syntax",
    ]  # fmt: skip
    line: int
    column: int
    name: str
    message: str = ""
    file: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether what was found is wrong; `message` says how. A script with faults runs, unless one is a "problem"."""
        return bool(self.message) and self.kind != "schedule"

    @property
    def place(self) -> str:
        """The place in words: "line 3", or "lib/rules.py line 3"."""
        return f"{self.file} line {self.line}".strip()


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a function of the script runs by the clock: every so many seconds, or by a cron expression."""

    function: str
    every_s: float | None
    cron: str | None
    line: int = 0
    file: str = ""

    @property
    def words(self) -> str:
        """When it runs, in words: "every 600 s", or "at 0 2 * * *"."""
        return f"every {self.every_s:g} s" if self.every_s is not None else f"at {self.cron}"


class Ready(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ready"):
    """The script was compiled under the policy and its module body has run.

    `handlers` are its functions that are called: by an event, by what is to be filtered, or by the clock (`schedules`).
    """

    handlers: list[str]
    findings: list[Finding]
    log: list[tuple[str, str]] = []
    handles: dict[str, list[str]] | None = None
    """Keyword → values, one of which the event's instance must have for the script to be asked at all."""
    schedules: list[Schedule] = []


class Refused(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="refused"):
    """The script does not compile, breaks the policy, or failed while its module body ran."""

    problems: list[Finding]


class Transcode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="transcode"):
    """Make the same image in another transfer syntax. `x` is the id of an instance or level, or the index of the action that makes a handle."""

    x: str | int
    to: str
    """UID."""
    quality: int | None = None
    ratio: float | None = None
    near: int | None = None
    or_original: bool = True
    lossy: bool = False
    """Loss is asked for, without saying how much."""
    line: int = 0


class RunTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="run_tool"):
    """Have an external tool make a product of an instance or of a product."""

    x: str | int
    name: str
    args: list[str] = []
    line: int = 0


class Modify(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="modify"):
    """Set and remove attributes of an instance or of a product. What `set` holds is for the host to judge."""

    x: str | int
    set: dict[str, Any] = {}
    remove: list[str] = []
    keep: list[str] = []
    private: Literal["keep", "remove"] = "keep"
    keep_uids: bool = False
    line: int = 0


class Anonymize(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="anonymize"):
    """De-identify an instance or a product for a project."""

    x: str | int
    project: str
    allow_burned_in: bool = False
    line: int = 0


class Redact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="redact"):
    """Blank rectangles, each (x, y, width, height), in every frame of an instance or of a product."""

    x: str | int
    regions: list[tuple[int, int, int, int]]
    line: int = 0


class Forward(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="forward"):
    """Deliver an instance, the members of a level or a product to a destination."""

    x: str | int
    to: str
    priority: Literal["low", "normal", "high", "stat"] = "normal"
    not_before: float | None = None
    syntax: str | None = None
    again: bool = False
    back: bool = False
    line: int = 0


class Delete(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="delete"):
    """Delete an instance, or the members of a level; `after` names what must have happened before: all its deliveries, or these (action indexes)."""

    x: str
    after: Literal["delivered", "committed"] | list[int] | None = None
    line: int = 0


Makes = Transcode | RunTool | Modify | Anonymize | Redact
"""Actions whose index is a handle: of what they make."""
Action = Makes | Forward | Delete | situations.Notify | acts.Act | acts.Request | acts.Retrieve


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a run failed. `traceback` has only the script's own frames: (line, function)."""

    type: str
    message: str
    line: int | None = None
    traceback: list[tuple[int, str]] = []
    file: str = ""
    """The helper's file that `line` is in, '' for the script's own."""


Verb = Literal[
    "value",
    "members",
    "first",
    "origins",
    "marks",
    "find",
    "found",
    "delivered_to",
    "state",
    "product",
    "http_get",
    "query",
    "pixels",
]
"""What a running script may ask."""


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="question"):
    """A question of a running script.

    For `value`, `path` is that of the element (tag, item, tag and so on), and `of` the id of a member, '' for the event's own instance;
    `of` is the same for `pixels`.
    For `members`, `path` is 1 for those that are new, 0 for all, and the place of the last one that is known (-1: none), whose id is `of`.
    For `marks`, `of` is the id of what they are of; for `delivered_to` too, and `more` names the destination. `find` has what is sought in
    `more`; for `found`, `path` is the number of that search and how many of its answers are known. For `product`, `actions` are those that
    make it, the last one the product's own. For `http_get`, `more` has `target` and `path`; for `query`, `modality`, `level`, `keys` by keyword, and `limit`. `about` is the id of the level that was found, '' for the event's own.
    """

    id: int
    verb: Verb
    path: list[int]
    of: str = ""
    about: str = ""
    more: dict[str, Any] = {}
    actions: list[Makes] = []


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="result"):
    """What one run asked for, said and read."""

    id: int
    actions: list[Action]
    log: list[tuple[str, str]]
    """(level, text)."""
    tags_read: list[str]
    """Names, never values."""
    failure: Failure | None = None
    state: dict[str, Any] | None = None
    """What the script keeps from now on; None: nothing else than before."""


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="verdict"):
    """What a filter decided, said and read. `set` and `remove` name elements, or keys, by tag; no values: it is emptied."""

    id: int
    verdict: Literal["accept", "discard", "refuse"]
    log: list[tuple[str, str]]
    tags_read: list[str]
    set: dict[int, list[str | int | float]] = {}
    remove: list[int] = []
    reason: str = ""
    status: int = 0
    failure: Failure | None = None


FromHost = Load | Event | Filter | Answer
FromWorker = Hello | Ready | Refused | Question | Result | Verdict
