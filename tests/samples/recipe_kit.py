"""Runs the scripts of recipes, each in its worker, from an event to its plan."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from peer_kit import SAMPLES
from test_recipes import RECIPES

from hostd.archive.records import Origin
from hostd.cli.configured import configured
from hostd.sandbox import frames
from hostd.scripting import made, questions
from hostd.scripting.asking import Means, OfFiles
from hostd.scripting.filters import keys_of
from hostd.scripting.folder import read_source
from hostd.scripting.plan import as_frames_event
from hostd.scripting.rehearsal import decision, rehearse_event

NOW = 1_700_000_000.0


class Recipe:
    """A recipe's script, loaded under its own configuration."""

    def __init__(self, name):
        self.configuration = configured(SAMPLES / name / "hostd.toml")
        self.script = SAMPLES / name / RECIPES[name]
        self.state = {}
        self.worker = self.configuration.start(self.script.name, read_source(self.script))

    def on(self, kind, *files, now=NOW, **origin):
        """Return the plan of an event about the files: what it would do, line by line."""
        event, source = made.event(files, kind, now)
        if origin:
            event = replace(event, origin=Origin("dicom", **origin))
        means = Means(
            self.configuration.resolve_destination, self.configuration.resolve_tool, self.configuration.resolve_project
        )
        further = OfFiles(event, means, self.state)
        outcome = rehearse_event(
            self.worker,
            event,
            answer=lambda question: questions.answer_from(source, question, further),
            destinations=self.configuration.resolve_destination,
            time_limit_s=20.0,
            tools=self.configuration.resolve_tool,
            projects=self.configuration.resolve_project,
            channels=self.configuration.channels_of(self.script.name),
        )
        assert outcome.error is None, outcome.error
        self.state = self.state if outcome.state is None else outcome.state
        self.log = [text for _, text in outcome.log]
        return list(outcome.plan)

    def judges(self, handler, file: Path | None = None, **asked):
        """Return what a filter decides, in words; nothing when it lets pass."""
        instance = as_frames_event(made.event((file,), "stored_instance", NOW)[0]).instance if file else None
        verdict = self.worker.judge(
            frames.Filter(1, handler, instance=instance, **asked),
            time_limit_s=20.0,
            answer=lambda question: questions.answer(question, file),
        )
        assert verdict.failure is None, verdict.failure
        return (
            decision(verdict) if "query" not in asked else [f"{tag:08X} is not told" for tag in keys_of(verdict).remove]
        )


@contextmanager
def recipe(name):
    """Give a recipe's script, loaded."""
    loaded = Recipe(name)
    try:
        yield loaded
    finally:
        loaded.worker.stop()
