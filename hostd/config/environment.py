"""Settings from environment variables: `HOSTD_HTTP__PORT=8043` sets `http.port`.

pydantic-settings reads one variable at a time here, so that every problem and every value can name its variable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from hostd.config.problems import Loc, Problem, model_at, unknown_key

PREFIX = "HOSTD_"
DELIMITER = "__"


class _OneVariable(EnvSettingsSource):
    """pydantic-settings' source, given one variable instead of the whole environment."""

    def __init__(self, settings: type[BaseSettings], name: str, value: str) -> None:
        super().__init__(settings, case_sensitive=False, env_prefix=PREFIX, env_nested_delimiter=DELIMITER)
        self.env_vars = {name: value}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Return JSON decoded; what does not look like JSON stays text, so that a list may be written `a,b`."""
        if isinstance(value, str) and value.lstrip()[:1] not in {"[", "{"}:
            return value
        return super().decode_complex_value(field_name, field, value)


@dataclass(slots=True)
class FromEnvironment:
    """Values of the file with those of the environment over them, which variable gave what, and what was wrong."""

    values: dict[str, Any]
    variables: dict[Loc, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def over(values: Mapping[str, Any], environ: Mapping[str, str], settings: type[BaseSettings]) -> FromEnvironment:
    """Lay the environment's settings over these values.

    A variable names a modality, peer, tool, project, script or user in any case, with `_` for `-` and `.`: what the file (or a variable
    for the whole table) calls `compress.py` is `HOSTD_SCRIPTS__COMPRESS_PY__...`.
    """
    result = FromEnvironment(dict(values))
    named = [name for name in environ if name.upper().startswith(PREFIX)]
    for name in sorted(named, key=lambda name: (name.count(DELIMITER), name)):
        try:
            key = _key_of(name, result.values, settings)
            if key is None:
                continue
            given = _OneVariable(settings, key, environ[name])()
        except SettingsError:  # its message and cause may quote the value
            result.problems.append(Problem("", "should be JSON, or for a list a,b,c", variable=name))
        except ValueError as error:
            result.problems.append(Problem("", str(error), variable=name))
        else:
            result.values = _merged(result.values, given)
            result.variables.update(dict.fromkeys(_leaves(given), name))
    return result


def _key_of(variable: str, values: Mapping[str, Any], settings: type[BaseSettings]) -> str | None:
    """Return the variable's name as pydantic-settings is to read it; None for one that is no setting of ours."""
    section, *rest = variable[len(PREFIX) :].lower().split(DELIMITER)
    if section not in settings.model_fields:
        if rest:
            raise ValueError(unknown_key(settings, (section,)))
        _refuse_single_underscore(variable, section, settings)
        return None
    if rest and model_at(settings, (section,)) is None:
        table = values.get(section)
        rest[0] = _name_in(section, rest[0], table if isinstance(table, dict) else {})
    return PREFIX.lower() + DELIMITER.join([section, *rest])


def _name_in(section: str, name: str, table: Mapping[str, Any]) -> str:
    """Return the name in the table that the variable means; a new one is taken as it stands, in small letters."""
    wanted = re.sub(r"[-.]", "_", name)
    same = [known for known in table if re.sub(r"[-.]", "_", known.lower()) == wanted]
    if len(same) > 1:
        raise ValueError(f"may mean any of {', '.join(same)} in [{section}]: set it in the file instead")
    if same:
        return same[0]
    return re.sub(r"_py$", ".py", name) if section == "scripts" else name


def _refuse_single_underscore(variable: str, rest: str, settings: type[BaseSettings]) -> None:
    for section in settings.model_fields:
        model = model_at(settings, (section,))
        key = rest.removeprefix(f"{section}_")
        if model and key != rest and key in model.model_fields:
            meant = f"{PREFIX}{section}{DELIMITER}{key}".upper()
            raise ValueError(f"there is no such setting: did you mean {meant}, with two underscores?")
    if rest in {
        key for section in settings.model_fields if (m := model_at(settings, (section,))) for key in m.model_fields
    }:
        raise ValueError(f"there is no such setting: name its table too, as {PREFIX}HTTP{DELIMITER}PORT ({variable})")


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _leaves(values: Mapping[str, Any], at: Loc = ()) -> list[Loc]:
    leaves: list[Loc] = []
    for key, value in values.items():
        leaves += _leaves(value, (*at, key)) if isinstance(value, dict) and value else [(*at, key)]
    return leaves
