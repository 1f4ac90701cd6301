"""Writes docs/configuration.md from the models: `python -m hostd.config.reference`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from inspect import get_annotations
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from hostd.config.changes import RELOADED, RELOADED_OF
from hostd.config.problems import model_at
from hostd.config.settings import Settings

COMMAND = "python -m hostd.config.reference"

EXAMPLE = """\
[node]
name = "hostd"
data = "./hostd-data"               # index, files, state; created 0700
scripts = "./scripts"

[dicom]                             # loopback until told otherwise
host = "127.0.0.1"
port = 4242
aets = ["HOSTD"]                    # AE titles it answers to; any called title is taken unless check_called_aet = true

[http]                              # refuses to listen beyond loopback without users
host = "127.0.0.1"
port = 8042

[ingest]
transcode_to = "j2k"                # UID, keyword or short name; absent: kept as received
ack_budget_s = 5                    # what takes longer is acknowledged as received and finished afterwards; 0: never wait

[[ingest.rules]]                    # the first that fits decides; then ingest.transcode_to
calling_aet = "MODALITY7"
transcode_to = "none"

[stable]
quiet_s = 60                        # a series, study or patient is stable when nothing more came for so long

[stable.by_modality]
CT = 120

[modalities.archive]
aet = "ARCHIVE"
host = "192.0.2.7"
port = 104

[peers.buffer]
url = "https://buffer.example/"
username = "hostd"
password_file = "/run/secrets/buffer"

[dicomweb.cloud]
url = "https://pacs.example/dicom-web/"
header_files = { Authorization = "/run/secrets/token" }

[folders.export]
path = "/srv/export"
template = "{PatientID}/{StudyDate}/{Modality}/{SOPInstanceUID}.dcm"

[notify.default]                    # told of failed deliveries, parked scripts, destinations that are down
host = "mail.hospital.example"
username = "hostd"
password_file = "/run/secrets/mail"
sender = "hostd@hospital.example"
to = ["pacs@hospital.example"]

[scripts."compress.py"]
destinations = ["archive"]          # what it may do beyond the default; limits; its own settings under .config
may = ["delete"]
time_limit_s = 5
"""


def _listed(names: Collection[str]) -> str:
    """Return the names of sections in the order of the page."""
    *most, last = [f"`{name}`" for name in Settings.model_fields if name in names]
    return f"{', '.join(most)} and {last}"


def _of(section: str) -> str:
    """Return the settings of a section that may change while the node runs, for a sentence."""
    table = Settings.model_fields[section].annotation
    assert table is not None
    return ", ".join(f"`{name}`" for name in table.model_fields if name in RELOADED_OF[section])


_HEAD = f"""\
# Configuration

<!-- Written by `{COMMAND}` from the models in hostd/config: change those, then run it again. -->

hostd reads one TOML file. Every setting has a default, so that an empty file, or none, makes a node that listens on
this machine only.

```toml
{EXAMPLE}```

- A configuration of Orthanc's (JSON) is read too, or converted: see [orthanc.md](orthanc.md).
- Relative paths are relative to the configuration file; without a file, to the current folder.
- An environment variable wins over the file: `HOSTD_HTTP__PORT=8043` sets `http.port`. Two underscores stand between table
  and key. A list is written `a,b` or as JSON; a whole table may be JSON. In the name of a destination, tool, project, script or user, `_`
  stands for `-` and `.` too: `HOSTD_SCRIPTS__COMPRESS_PY__TIME_LIMIT_S=10`.
- A name used by destinations of several kinds is written `modality:x`, `peer:x` or `folder:x` where a destination is meant.
- A key that does not exist is refused, with the nearest one that does.
- The configuration and the scripts folder, and every folder above them, must not be writable by other users, unless
  `node.allow_insecure_permissions` says otherwise.
- A running node takes over {_listed(RELOADED)} when the file changes, or at once on SIGHUP;
  of `[dicom]`, what is accepted of whom: the settings whose names begin with `accept`, `rejected_`, `always_allow_`, and `check_modality_host`, `strict_aet_comparison` and `transcode`;
  of `[node]` {_of("node")}; of `[scripting]` {_of("scripting")}; of `[jobs]` {_of("jobs")};
  of `[http]` {_of("http")}.
  A change of anything else takes effect with the next start; the log names the settings that wait for it. A file with a problem changes
  nothing.
- `hostd config check` lists all problems, `hostd config show` all values and where each comes from, and
  `hostd config hash-password` makes the hash of a user's password. None of them shows a secret.

"""

_TYPES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "secret text",
}


def render() -> str:
    """Return the text of docs/configuration.md."""
    return _HEAD + "\n".join(text for name in Settings.model_fields for text in _sections(name))


def _sections(name: str) -> Iterator[str]:
    """Yield a table of the configuration, then the lists of tables in it."""
    model = model_at(Settings, (name,))
    key = name
    if model is None:
        model = model_at(Settings, (name, "NAME"))
        key = f'{name}."NAME.py"' if name == "scripts" else f"{name}.NAME"
    assert model is not None, f"{name} is a table, or a table of tables"
    yield _section(f"[{key}]", model)
    for field_name in model.model_fields:
        entry = model_at(Settings, (name, field_name, 0))
        if entry is not None:
            yield _section(f"[[{key}.{field_name}]]", entry)


def _section(heading: str, model: type[BaseModel]) -> str:
    rows = [_row(field_name, field) for field_name, field in sorted(model.model_fields.items(), key=_place_in(model))]
    head = ["| setting | value | default | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {heading}", "", (model.__doc__ or "").strip(), "", *head, *rows, ""])


def _place_in(model: type[BaseModel]) -> Callable[[tuple[str, FieldInfo]], tuple[bool, int]]:
    """Return the order of a model's rows: what must be there first, then its own settings, then what it shares with others."""

    def place(item: tuple[str, FieldInfo]) -> tuple[bool, int]:
        name, field = item
        depth = next(i for i, one in enumerate(model.__mro__) if name in get_annotations(one))
        return not field.is_required(), depth

    return place


def _row(name: str, field: FieldInfo) -> str:
    default = "required" if field.is_required() else _toml(field.default)
    return f"| `{name}` | {_limits(_type(field.annotation), field.metadata)} | {default} | {field.description} |"


def _toml(value: Any) -> str:
    if value is None:
        return "absent"
    match value:
        case bool():
            text = str(value).lower()
        case float():
            text = f"{value:g}"
        case Path():
            text = f'"./{value}"'
        case tuple():
            text = "[" + ", ".join(f'"{item}"' for item in value) + "]"
        case str():
            text = f'"{value}"'
        case _:
            text = str(value)
    return f"`{text}`"


def _type(annotation: Any) -> str:
    arguments = [argument for argument in get_args(annotation) if argument is not NoneType]
    origin = get_origin(annotation)
    if origin in {UnionType, Union}:
        return _type(arguments[0])
    if origin is Literal:
        return " or ".join(f'`"{choice}"`' for choice in arguments)
    if origin is tuple:
        is_table = isinstance(arguments[0], type) and issubclass(arguments[0], BaseModel)
        return "list of tables" if is_table else "list of texts"
    if origin is dict:
        return "table"
    if hasattr(annotation, "__metadata__"):
        return _limits(_type(annotation.__origin__), annotation.__metadata__)
    return _TYPES[annotation]


def _limits(kind: str, metadata: Any) -> str:
    limits = [limit for item in metadata for limit in (item.metadata if isinstance(item, FieldInfo) else [item])]
    words = [f"from {limit.ge}" for limit in limits if isinstance(limit, Ge)]
    words += [f"over {limit.gt}" for limit in limits if isinstance(limit, Gt)]
    words += [f"to {limit.le}" for limit in limits if isinstance(limit, Le)]
    return " ".join([kind, *words])


def main(arguments: list[str]) -> None:
    """Write the page, to the file named or to docs/configuration.md of the current folder."""
    Path(arguments[0] if arguments else "docs/configuration.md").write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
