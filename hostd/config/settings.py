"""The settings of a node, and how they are loaded: a file, and environment variables over it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar, get_args

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from hostd.config import environment, files
from hostd.config.credentials import Certified, Credentials
from hostd.config.dicomweb import DicomWeb
from hostd.config.folders import Folder
from hostd.config.forwarding import Forwarding
from hostd.config.hashing import Hashed, hash_once
from hostd.config.ingest import Ingest
from hostd.config.notify import Channel
from hostd.config.orthanc.draft import Note
from hostd.config.permissions import hindrance, refuse_writable_by_others
from hostd.config.problems import InvalidConfigurationError, Loc, Problem, place, problems_of
from hostd.config.projects import Project
from hostd.config.query import Query
from hostd.config.retention import Retention
from hostd.config.sections import (
    Delivery,
    Dicom,
    Http,
    Jobs,
    Log,
    Modality,
    Node,
    Peer,
    Script,
    Scripting,
    Stable,
    Transcoding,
    User,
)
from hostd.config.sources import Source
from hostd.config.storage import Storage
from hostd.config.targets import Target
from hostd.config.tools import Tool
from hostd.config.values import (
    ChannelName,
    DestinationName,
    ProjectName,
    RetentionName,
    ScriptName,
    ToolName,
    UserName,
    relative_to,
)
from hostd.errors import ConfigurationError, NotFoundError

_Entry = TypeVar("_Entry")


class Settings(BaseSettings):
    """All settings of a node. They cannot be changed; loading again makes new ones.

    `Settings(...)` takes what it is given and defaults; `load` reads the file and the environment. What `[delivery]`
    says of `calling_aet` and `timeout_s` is filled in where a modality or peer says nothing.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    node: Node = Field(default_factory=Node, description=Node.__doc__)
    dicom: Dicom = Field(default_factory=Dicom, description=Dicom.__doc__)
    query: Query = Field(default_factory=Query, description=Query.__doc__)
    http: Http = Field(default_factory=Http, description=Http.__doc__)
    ingest: Ingest = Field(default_factory=Ingest, description=Ingest.__doc__)
    transcoding: Transcoding = Field(default_factory=Transcoding, description=Transcoding.__doc__)
    storage: Storage = Field(default_factory=Storage, description=Storage.__doc__)
    stable: Stable = Field(default_factory=Stable, description=Stable.__doc__)
    scripting: Scripting = Field(default_factory=Scripting, description=Scripting.__doc__)
    delivery: Delivery = Field(default_factory=Delivery, description=Delivery.__doc__)
    jobs: Jobs = Field(default_factory=Jobs, description=Jobs.__doc__)
    log: Log = Field(default_factory=Log, description=Log.__doc__)
    modalities: dict[DestinationName, Modality] = Field(default={}, description=Modality.__doc__)
    peers: dict[DestinationName, Peer] = Field(default={}, description=Peer.__doc__)
    dicomweb: dict[DestinationName, DicomWeb] = Field(default={}, description=DicomWeb.__doc__)
    folders: dict[DestinationName, Folder] = Field(default={}, description=Folder.__doc__)
    tools: dict[ToolName, Tool] = Field(default={}, description=Tool.__doc__)
    projects: dict[ProjectName, Project] = Field(default={}, description=Project.__doc__)
    notify: dict[ChannelName, Channel] = Field(default={}, description=Channel.__doc__)
    targets: dict[ChannelName, Target] = Field(default={}, description=Target.__doc__)
    sources: dict[DestinationName, Source] = Field(default={}, description=Source.__doc__)
    retention: dict[RetentionName, Retention] = Field(default={}, description=Retention.__doc__)
    scripts: dict[ScriptName, Script] = Field(default={}, description=Script.__doc__)
    users: dict[UserName, User] = Field(default={}, description=User.__doc__)

    @classmethod
    def settings_customise_sources(  # noqa: D102 - pydantic-settings' own
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic-settings'
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic-settings'
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic-settings'
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `load` reads file and environment itself, so that each value and each problem knows where it comes from.
        return (init_settings,)

    @field_validator("delivery")
    @classmethod
    def _calls_as_it_is_called(cls, delivery: Delivery, info: ValidationInfo) -> Delivery:
        dicom = info.data.get("dicom")
        if dicom is None or "calling_aet" in delivery.model_fields_set:
            return delivery
        return delivery.model_copy(update={"calling_aet": dicom.aets[0]})

    @field_validator("*")
    @classmethod
    def _destinations_inherit(cls, value: Any, info: ValidationInfo) -> Any:
        delivery = info.data.get("delivery")
        if delivery is None or info.field_name not in destination_tables(cls).values():
            return value
        return {name: _inheriting(entry, delivery) for name, entry in value.items()}

    def destination_names(self) -> tuple[str, ...]:
        """Return what scripts may write in `to=`, sorted; a name of several kinds is there as `modality:x` and `peer:x`."""
        kinds = self._kinds_by_name()
        return tuple(
            sorted(name if len(found) == 1 else f"{kind}:{name}" for name, found in kinds.items() for kind in found)
        )

    def resolve_destination(self, name: str) -> tuple[str, str]:
        """Return the kind and the plain name of a destination, written `x`, `modality:x`, `peer:x` and so on.

        Raises `NotFoundError` when there is none of that name, and `ConfigurationError` when there are several.
        """
        prefix, separator, plain = name.rpartition(":")
        found = [kind for kind in self._kinds_by_name().get(plain, ()) if not separator or kind == prefix]
        if len(found) == 1:
            return found[0], plain
        if found:
            kinds, written = (
                " and ".join(f"a {kind}" for kind in found),
                " or ".join(f"'{kind}:{name}'" for kind in found),
            )
            raise ConfigurationError(f"{name!r} is both {kinds}: write {written}")
        near = get_close_matches(name, self.destination_names(), n=2, cutoff=0.5)
        tables = ", ".join(f"[{table}.NAME]" for table in destination_tables(type(self)).values())
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"add one of {tables}."
        raise NotFoundError(f"there is no destination {name!r} in the configuration; {hint}")

    def _kinds_by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for kind, entries in self.destinations().items():
            for name in entries:
                found.setdefault(name, []).append(kind)
        return found

    def destinations(self) -> dict[str, Mapping[str, Forwarding]]:
        """Return the destinations: kind → name → entry."""
        return {kind: getattr(self, table) for kind, table in destination_tables(type(self)).items()}

    def with_destinations(self, added: Mapping[str, Mapping[str, Forwarding]]) -> Self:
        """Return the settings with more destinations (table → name → entry); what they have already stays as it is."""
        tables = {
            table: {
                **{name: _inheriting(entry, self.delivery) for name, entry in entries.items()}, **getattr(self, table)
            }
            for table, entries in added.items()
            if entries
        }  # fmt: skip
        return self.model_copy(update=tables)

    def script(self, name: str) -> Script:
        """Return the entry of the script file of that name; the defaults when it has none."""
        return self.scripts.get(name) or Script()

    def destinations_of(self, script: str) -> tuple[str, ...]:
        """Return the names, as in `destination_names`, to which the script of that file name may send."""
        allowed = self.script(script).destinations
        if allowed is None:
            return self.destination_names()
        resolved = {self.resolve_destination(name) for name in allowed}
        return tuple(name for name in self.destination_names() if self.resolve_destination(name) in resolved)


def _inheriting(entry: Forwarding, delivery: Delivery) -> Forwarding:
    """Return an entry with what `[delivery]` says where it says nothing itself."""
    common = {"calling_aet": delivery.calling_aet, "timeout_s": delivery.timeout_s}
    missing = type(entry).model_fields.keys() & common.keys() - entry.model_fields_set
    return entry.model_copy(update={key: common[key] for key in missing})


@cache
def destination_tables(settings: type[BaseSettings]) -> Mapping[str, str]:
    """Return the kinds of destination → the table of the configuration that each is in."""
    found = {}
    for table, field in settings.model_fields.items():
        section = get_args(field.annotation)[-1:]
        if section and isinstance(section[0], type) and issubclass(section[0], Forwarding):
            found[section[0].KIND] = table
    return found


DESTINATION_TABLES = destination_tables(Settings)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each came from."""

    settings: Settings
    file: Path | None
    variables: Mapping[Loc, str]
    """Which environment variable gave which setting."""
    in_file: frozenset[Loc]
    notes: tuple[Note, ...] = ()
    """What is to be said of a configuration of Orthanc's: what was not taken over, and what was decided."""
    in_its_words: Callable[[Problem], Problem] = lambda problem: problem
    """Return a problem in the words of the file, which may be Orthanc's."""
    said: Callable[[str], str] = lambda text: text
    """Return a text that names settings in the words of the file."""

    def origin(self, loc: Loc) -> str:
        """Say where that setting comes from: `default`, `file`, `environment NAME`, or `password_file` and its like."""
        if variable := next((name for given, name in self.variables.items() if _overlap(given, loc)), None):
            return f"environment {variable}"
        if any(_overlap(given, loc) for given in self.in_file):
            return "file"
        if loc == ("node", "database_password"):
            keys = ("database_password_file", "database_password_env")
            return next((key for key in keys if getattr(self.settings.node, key)), "default")
        entry = getattr(self.settings, str(loc[0])).get(loc[1]) if loc[-1] == "password" and len(loc) > 2 else None
        if isinstance(entry, Credentials):
            return next((key for key in ("password_file", "password_env") if getattr(entry, key)), "default")
        return "default"


def _overlap(one: Loc, other: Loc) -> bool:
    return all(mine == theirs for mine, theirs in zip(one, other, strict=False))


def load(path: Path | None, *, environ: Mapping[str, str] = os.environ, hashed: Hashed = hash_once) -> Settings:
    """Return the settings of that TOML file, or configuration of Orthanc's, with environment variables `HOSTD_...` over it.

    Without a file there are the defaults, and relative paths are relative to the current folder instead of the file's.
    Passwords of peers are read from their files and variables. Raises `ConfigurationError` listing every problem, with
    file and line or variable; what was given is never repeated, for it may be a secret. Who lets no user sign in gives `unhashed`.
    """
    return load_with_origins(path, environ=environ, hashed=hashed).settings


def load_with_origins(
    path: Path | None, *, environ: Mapping[str, str] = os.environ, hashed: Hashed = hash_once
) -> Loaded:
    """Do as `load`, and keep where each setting came from."""
    path = path and Path(os.path.abspath(path))  # noqa: PTH100 - a symbolic link is kept as written
    source = files.read(path, environ, hashed)
    given = environment.over(source.values, environ, Settings)
    try:
        with relative_to(source.folder):
            settings = Settings(**given.values)
    except ValidationError as error:
        found = problems_of(error, Settings, file=path, text=source.text, variables=given.variables)
        raise InvalidConfigurationError([
            *given.problems, *source.problems, *map(source.in_its_words, found)
        ]) from None  # fmt: skip
    problems = [*given.problems, *source.problems]
    for file in () if settings.node.allow_insecure_permissions else source.files:
        try:
            refuse_writable_by_others(file)
        except ConfigurationError as error:
            problems.append(Problem("", str(error)))
    settings, secrets = _with_secrets(settings, environ)
    for loc, message in (*secrets, *_contradictions(settings)):
        found_here = place(loc, message, file=path, text=source.text, variables=given.variables)
        problems.append(source.in_its_words(found_here))
    if problems:
        raise InvalidConfigurationError(problems)
    return Loaded(
        settings, path, given.variables, frozenset(_keys(source.values)), source.notes, source.in_its_words, source.said
    )


def _with_secrets(settings: Settings, environ: Mapping[str, str]) -> tuple[Settings, list[tuple[Loc, str]]]:
    problems: list[tuple[Loc, str]] = []
    node = settings.node
    try:
        node = node.with_secrets(environ)
    except ValueError as error:
        key = "database_password_file" if node.database_password_file else "database_password_env"
        problems.append((("node", key), str(error)))

    tables: dict[str, dict[str, Any]] = {}
    for table, name, entry in _entries(settings, Credentials):
        entries = tables.setdefault(table, dict(getattr(settings, table)))
        try:
            entries[name] = entry.with_secrets(environ)
        except ValueError as error:
            problems.append(((table, name, entry.secret_source), str(error)))
    return settings.model_copy(update={"node": node, **tables}), problems


def _entries(settings: Settings, kind: type[_Entry]) -> Iterator[tuple[str, str, _Entry]]:
    """Yield table, name and entry of all that are of that kind."""
    for table in type(settings).model_fields:
        entries = getattr(settings, table)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            if isinstance(entry, kind):
                yield table, name, entry


def _contradictions_of_alternates(settings: Settings) -> Iterator[tuple[Loc, str]]:
    for table, name, entry in _entries(settings, Forwarding):
        if entry.alternate is None:
            continue
        try:
            is_itself = settings.resolve_destination(entry.alternate) == (entry.KIND, name)
        except (ConfigurationError, NotFoundError) as error:
            yield (table, name, "alternate"), str(error)
        else:
            if is_itself:
                yield (table, name, "alternate"), "is this destination itself: name another"


def _contradictions(settings: Settings) -> Iterator[tuple[Loc, str]]:
    """Find what is right by itself and wrong together."""
    for name, script in settings.scripts.items():
        for destination in script.destinations or ():
            try:
                settings.resolve_destination(destination)
            except (ConfigurationError, NotFoundError) as error:
                yield ("scripts", name, "destinations"), str(error)
    yield from _contradictions_of_alternates(settings)
    yield from _contradictions_of_telling(settings)
    yield from _missing_files(settings)
    for index, rule in enumerate(settings.ingest.rules):
        if rule.modality is not None and rule.modality not in settings.modalities:
            near = get_close_matches(rule.modality, settings.modalities, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"add [modalities.{rule.modality}]"
            yield (
                ("ingest", "rules", index, "modality"),
                f"there is no modality {rule.modality!r} in the configuration: {hint} What images are of is said by sop_class",
            )
    if settings.node.data == settings.node.scripts:
        yield ("node", "scripts"), "is the data folder too: keep scripts in a folder of their own"


def _missing_files(settings: Settings) -> Iterator[tuple[Loc, str]]:
    for face in ("dicom", "http"):
        for key, path in getattr(settings, face).files.items():
            if fault := _fault_of(path):
                yield (face, key), fault
    for table, name, entry in _entries(settings, Certified):
        for key, path in entry.files.items():
            if fault := _fault_of(path):
                yield (table, name, key), fault


def _fault_of(path: Path) -> str | None:
    return hindrance(path) or (None if path.is_file() else f"there is no file {path}")


def _contradictions_of_telling(settings: Settings) -> Iterator[tuple[Loc, str]]:
    for name, script in settings.scripts.items():
        for channel in script.channels:
            if channel not in settings.notify:
                near = get_close_matches(channel, settings.notify, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"add [notify.{channel}]"
                yield ("scripts", name, "channels"), f"there is no channel {channel!r} in the configuration; {hint}"
    for name, kept in settings.retention.items():
        if kept.source is not None and kept.source not in settings.modalities:
            yield ("retention", name, "source"), f"there is no modality {kept.source!r} in the configuration"
    for name in settings.sources.keys() - settings.modalities.keys():
        near = get_close_matches(name, settings.modalities, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"add [modalities.{name}]"
        yield ("sources", name), f"there is no modality {name!r} in the configuration; {hint}"


def _keys(values: Mapping[str, Any], at: Loc = ()) -> Iterator[Loc]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _keys(value, (*at, key))
        else:
            yield (*at, key)
