"""The projects of a configuration: checked once, and turned into the steps that scripts ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

from hostd.config import projects as config
from hostd.editing import paths
from hostd.editing.charsets import SPECIFIC_CHARACTER_SET
from hostd.editing.modify import refuse_change, refuse_removal
from hostd.editing.terms import Project
from hostd.errors import CannotEditError, ConfigurationError, NotFoundError
from hostd.transcoding.edits import Anonymize


def configured(entries: Mapping[str, config.Project]) -> dict[str, Project]:
    """Return the projects of a configuration. Raises `ConfigurationError` with everything that is wrong with them."""
    problems = [problem for name, entry in entries.items() for problem in _problems(name, entry)]
    if problems:
        raise ConfigurationError("; ".join(problems))
    return {name: Project(name=name, **entry.model_dump()) for name, entry in entries.items()}


def step_of(projects: Mapping[str, Project], name: str) -> Anonymize:
    """Return the step that de-identifies for the project of that name, by its rules of now. Raises `NotFoundError`."""
    project = projects.get(name)
    if project is None:
        near = get_close_matches(name, projects, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise NotFoundError(
            f"there is no [projects.{name[:64]}] in the configuration; {hint}Known projects: {', '.join(projects) or 'none'}"
        )
    return Anonymize(name, rules=project.fingerprint())


def refuse_impossible(project: Project) -> None:
    """Raise `CannotEditError` for rules that can be followed for no instance at all."""
    for setting, key in _named(project.keep, project.remove, project.replace):
        _refuse(setting, key)


def _problems(name: str, entry: config.Project) -> Iterator[str]:
    for setting, key in _named(entry.keep, entry.remove, entry.replace):
        try:
            _refuse(setting, key)
        except CannotEditError as error:
            yield f"projects.{name}.{setting}: {error}"


def _named(keep: Iterable[str], remove: Iterable[str], replace: Iterable[str]) -> Iterator[tuple[str, str]]:
    for setting, keys in (("keep", keep), ("remove", remove), ("replace", replace)):
        yield from ((setting, key) for key in keys)


def _refuse(setting: str, key: str) -> None:
    path = paths.parse(key)
    if setting == "remove":
        refuse_removal(path)
    elif len(path) > 1:
        raise CannotEditError(f"{key!r} is in a sequence; name attributes by themselves")
    elif setting == "replace":
        refuse_change(path)
        if path[0].tag == SPECIFIC_CHARACTER_SET:
            raise CannotEditError("SpecificCharacterSet cannot be replaced: all texts follow it")
