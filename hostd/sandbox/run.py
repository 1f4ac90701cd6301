"""What lasts as long as one run of a script: its plan, its log, what it has read. The next run starts with none of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from difflib import get_close_matches
from types import GeneratorType
from typing import Any, Protocol

import msgspec

from hostd.sandbox import frames, state
from hostd.sandbox.refusals import PixelsUnknown, TooManyActions, UnknownKeyword

MAX_NAMES_READ = 1000
"""How many different tags a run records as read; more are read, but not recorded."""


YIELDS = "contains `yield`, so that a call of it does nothing: ask for what is to be done without `yield`"


def called(handler: Callable[..., Any], *given: object) -> Any:
    """Call a handler; return what it does. Raises what it raises, and `TypeError` where it did nothing but make a generator."""
    result = handler(*given)
    if isinstance(result, GeneratorType):
        raise TypeError("the handler returned a generator, of which nothing was done: nobody goes through it")
    return result


class Ask(Protocol):
    """Asks the host; see `frames.Question` and `frames.Answer`."""

    def __call__(
        self,
        path: list[int],
        verb: frames.Verb = "value",
        of: str = "",
        about: str = "",
        more: dict[str, Any] | None = None,
        actions: list[frames.Makes] | None = None,
    ) -> list[Any]:
        """Return the answer. Raises `ValueTooLarge`, or `ValueError` with the host's reason."""
        ...


class World:
    """What a script knows from its `frames.Load`, turned for looking up."""

    __slots__ = ("keyword_of", "load", "lossy_of", "syntaxes")

    def __init__(self, load: frames.Load) -> None:
        self.load = load
        self.keyword_of = {tag: keyword for keyword, (tag, _) in load.keywords.items()}
        self.syntaxes = {name.lower(): syntax for name, syntax in load.syntaxes.items()}
        self.lossy_of = {
            short: load.syntaxes[uid].keyword for uid, short in load.lossless_of.items() if uid in load.syntaxes
        }

    def tag(self, keyword: str) -> int:
        """Return the tag of a keyword. Raises `UnknownKeyword` with the nearest one."""
        known = self.load.keywords.get(keyword)
        if known is None:
            raise UnknownKeyword(f"no element has the keyword {keyword[:64]!r}{near(keyword, self.load.keywords)}")
        return known[0]

    def name(self, tag: int) -> str:
        """Return the keyword of a tag, or the tag as the standard writes it."""
        return self.keyword_of.get(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"

    def config_line(self, key: str, values: list[str]) -> str:
        """Return the line of the configuration that would give this script those values, and the table that it stands in."""
        listed = ", ".join(f'"{value}"' for value in values)
        return f'{key} = [{listed}] under [scripts."{self.load.name}"]'


def missing(what: str, name: str, known: Collection[str]) -> str:
    """Say that the configuration has no tool, say, of that name, which there are, and which is near."""
    there_are = f"there are: {', '.join(known)}" if known else "none is configured"
    return f"no {what} is called {name[:64]!r}; {there_are}{near(name, known)}"


def near(name: str, known: Any) -> str:
    """Return "; did you mean …?" with the nearest of the known names, or nothing when none is near."""
    if len(name) > 64:
        return ""
    by_lower = {candidate.lower(): candidate for candidate in known}
    found = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[found[0]]}?" if found else ""


class Log:
    """Lines of (level, text), of so many bytes together; then one line says that it was cut."""

    __slots__ = ("_left", "lines")

    def __init__(self, max_bytes: int) -> None:
        self.lines: list[tuple[str, str]] = []
        self._left = max_bytes

    def write(self, level: str, text: str) -> None:
        """Add a line, as much of it as there is room for. An empty line takes room, too."""
        if self._left <= 0:
            return
        content = text[: self._left].encode("utf-8", "replace")  # lone surrogates cannot travel
        kept = content[: self._left].decode("utf-8", "ignore")
        self.lines.append((level, kept))
        self._left -= len(content) + 16
        if self._left <= 0:
            self.lines.append(("warning", "the log of this run was cut here: it is over its limit"))


class Run:
    """One run: what the host and the views of the API write to. Closed at its end, so that nothing kept in a global acts later."""

    __slots__ = (
        "_ask", "_fetched", "_marks", "_pixels", "_products", "_state", "_state_before", "actions", "closed", "log", "now", "read", "world",
    )  # fmt: skip

    def __init__(self, world: World, now: float, ask: Ask) -> None:
        self.world = world
        self.now = now
        self.actions: list[frames.Action] = []
        self.log = Log(world.load.max_log_bytes)
        self.read: dict[str, None] = {}
        self.closed = False
        self._ask = ask
        self._fetched: dict[tuple[str, tuple[int, ...]], list[Any]] = {}
        self._products: dict[int, tuple[int, int]] = {}
        self._state: dict[str, Any] | None = None
        self._state_before = b""
        self._marks: dict[str, tuple[dict[str, str], list[str]]] = {}
        self._pixels: dict[str, frames.PixelFacts] = {}

    def check_open(self) -> None:
        """Raise `RuntimeError` when this run is over."""
        if self.closed:
            raise RuntimeError(
                "this belongs to an earlier event: keep plain values in globals, not `host` or an instance"
            )

    def add(self, action: frames.Action) -> int:
        """Enter an action into the plan and return its index."""
        self.check_open()
        if len(self.actions) >= self.world.load.max_actions:
            raise TooManyActions(f"one run may ask for {self.world.load.max_actions} actions, and this one has")
        self.actions.append(action)
        return len(self.actions) - 1

    def note(self, name: str) -> None:
        """Record that the script has read the element of that name."""
        if len(self.read) < MAX_NAMES_READ:
            self.read[name] = None

    def fetch(self, path: tuple[int, ...], of: str = "") -> list[Any]:
        """Return the values of an element that did not travel, of the event's instance or of a member. Raises `ValueTooLarge`."""
        if (of, path) not in self._fetched:
            self._fetched[of, path] = self.ask(list(path), "value", of)
        return self._fetched[of, path]

    def marks(self, of: str) -> tuple[dict[str, str], list[str]]:
        """Return the metadata and labels of what has that identifier; the same all through the run."""
        if of not in self._marks:
            metadata, labels = self.ask([], "marks", of)
            self._marks[of] = metadata, labels
        return self._marks[of]

    def pixels(self, of: str = "") -> frames.PixelFacts:
        """Return what the samples of the event's instance, or of a member, come to. Raises `PixelsUnknown` with the reason why it is not known."""
        self.note("pixels")
        if of not in self._pixels:
            try:
                (facts,) = self.ask([], "pixels", of)
            except ValueError as error:
                raise PixelsUnknown(str(error)) from None
            self._pixels[of] = msgspec.convert(facts, frames.PixelFacts)
        return self._pixels[of]

    def state(self) -> dict[str, Any]:
        """Return what the script keeps for itself, to be changed by it."""
        if self._state is None:
            (self._state,) = self.ask([], "state")
            self._state_before = state.encoded(self._state)
        self.check_open()
        return self._state

    def kept(self) -> dict[str, Any] | None:
        """Return what is to be kept, None when it is what was kept before. Raises `ValueError` and `TypeError` for what cannot be."""
        if self._state is None:
            return None
        value = state.plain(self._state)
        return None if state.encoded(value) == self._state_before else value

    def product(self, index: int) -> tuple[int, int]:
        """Return the size of what the action of that index makes, and of what it is made of, in bytes."""
        if index not in self._products:
            size, source = self.ask([], "product", actions=self._chain(index))
            self._products[index] = size, source
        return self._products[index]

    def _chain(self, index: int) -> list[frames.Makes]:
        """Return the actions that make a product, each naming the one before it."""
        steps: list[frames.Makes] = []
        x: str | int = index
        while isinstance(x, int):
            action = self.actions[x]
            assert isinstance(action, frames.Makes)
            steps.append(action)
            x = action.x
        steps.reverse()
        return [one if place == 0 else msgspec.structs.replace(one, x=place - 1) for place, one in enumerate(steps)]

    def ask(
        self,
        path: list[int],
        verb: frames.Verb,
        of: str = "",
        about: str = "",
        more: dict[str, Any] | None = None,
        actions: list[frames.Makes] | None = None,
    ) -> list[Any]:
        """Ask the host, while the run goes on."""
        self.check_open()
        if verb == "value" and not of:
            return self._ask(path)
        return self._ask(path, verb, of, about, more, actions)
