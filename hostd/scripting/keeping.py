"""What of products may enter the archive, and how: judged before anything is entered, by what is to be done to the instance."""

from __future__ import annotations

from hostd.archive.fanout import Many
from hostd.archive.tasks import PlannedTask
from hostd.errors import ScriptError
from hostd.jobs.storing import REPLACE, STORE
from hostd.transcoding.transform import Transcode, Transform


def store(position: int, inputs: dict[str, object], made: Transform, of: Many | None, skip: str | None) -> PlannedTask:
    """Return what is entered of `store`. Raises `ScriptError` for what is no instance of its own."""
    if is_same_image(made):
        raise ScriptError(
            "a lossless transcode is the same instance, which is stored already; host.replace exchanges its file"
        )
    return PlannedTask(position, inputs, "store", STORE, of, made.canonical(), skip=skip)


def replace(
    position: int, inputs: dict[str, object], made: Transform, of: Many | None, whose: Many | None, skip: str | None
) -> PlannedTask:
    """Return what is entered of `replace`, of a product that is made of `whose`. Raises `ScriptError` for what is not the same image."""
    if not is_same_image(made):
        raise ScriptError(
            "only a lossless transcode takes the place of its source; host.store keeps other products beside it"
        )
    if of != whose:
        raise ScriptError("the product is made of something else than what it is to replace")
    return PlannedTask(position, inputs, "replace", REPLACE, of, made.canonical(), skip=skip)


def is_same_image(made: Transform) -> bool:
    """Tell whether a product is its source in another transfer syntax, without loss."""
    return all(isinstance(step, Transcode) and step.options is None for step in made.steps)


def sentence(task: PlannedTask, what: str) -> str:
    """Say in words what is to be stored or replaced."""
    said = (
        f"store the product of{what}"
        if task.verb == "store"
        else f"replace the file of{what}, its original kept as a version"
    )
    return said if task.skip is None else f"{said}: nothing is done, {task.skip}"
