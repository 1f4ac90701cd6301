"""How people name attributes: keywords, tags, private creators, and paths into sequences in Orthanc's spelling."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from pydicom.datadict import keyword_dict, keyword_for_tag, tag_for_keyword

from hostd.errors import CannotEditError
from hostd.transcoding import elements as el

_NODE = re.compile(
    r"""\(?(?P<group>[0-9A-Fa-f]{4})[,-]?(?P<element>[0-9A-Fa-f]{4})\)?
      | \(?(?P<owned>[0-9A-Fa-f]{4}),\s?xx(?P<number>[0-9A-Fa-f]{2}),\s?"(?P<creator>[^"\\]{1,64})"\)?
      | (?P<keyword>[A-Za-z][A-Za-z0-9]*)""",
    re.VERBOSE,
)
_INDEX = re.compile(r"\[(\d{1,6}|\*)\]")
EVERY = -1


@dataclass(frozen=True, slots=True)
class Node:
    """One attribute, and which of its items where a path goes on: a number, `EVERY`, or None for the attribute itself.

    A private one has the creator's name, and in its tag zeros where the block's number stands.
    """

    tag: int
    creator: str | None = None
    index: int | None = None

    def find(self, elements: el.Elements) -> int | None:
        """Return the tag that it has in this data set; None for a private one whose creator has no block there."""
        if self.creator is None:
            return self.tag
        block = next((block for block, name in creators(elements, self.tag >> 16) if name == self.creator), None)
        return None if block is None else self.tag | block << 8

    def __str__(self) -> str:
        name = keyword_for_tag(self.tag) or f"{self.tag >> 16:04X},{self.tag & 0xFFFF:04X}"
        if self.creator is not None:
            name = f'{self.tag >> 16:04X},xx{self.tag & 0xFF:02X},"{self.creator}"'
        return name + ("" if self.index is None else "[*]" if self.index == EVERY else f"[{self.index}]")


Path = tuple[Node, ...]


def parse(text: str) -> Path:
    """Return the path that this text names. Raises `CannotEditError`, with near keywords, when it names nothing."""
    nodes: list[Node] = []
    position = 0
    while True:
        node, position = _node(text, position)
        nodes.append(node)
        if position == len(text):
            break
        if text[position] != "." or node.index is None:
            raise CannotEditError(f"{text!r} is no path: write Sequence[0].Keyword, and [*] for every item")
        position += 1
    if nodes[-1].index is not None:
        raise CannotEditError(f"{text!r} names an item; name an attribute of it, or the whole sequence")
    return tuple(nodes)


def shown(path: Path) -> str:
    """Return the path as people write it."""
    return ".".join(map(str, path))


def creators(elements: el.Elements, group: int) -> list[tuple[int, str]]:
    """Return the private blocks of a group: number of the block and name of its creator (PS3.5 §7.8.1)."""
    return [
        (number, el.text(elements, group << 16 | number))
        for number in range(0x10, 0x100)
        if group << 16 | number in elements
    ]


def _node(text: str, position: int) -> tuple[Node, int]:
    found = _NODE.match(text, position)
    if found is None:
        raise CannotEditError(f"{text!r} names no attribute: write a keyword, a tag such as 0010,0020, or a path")
    end = found.end()
    index = None
    if of_item := _INDEX.match(text, end):
        index = EVERY if of_item[1] == "*" else int(of_item[1])
        end = of_item.end()
    if found["group"]:
        return Node(int(found["group"] + found["element"], 16), None, index), end
    if found["owned"]:
        group = int(found["owned"], 16)
        if group % 2 == 0:
            raise CannotEditError(f"{text!r} has a private creator, and private groups are odd")
        return Node(group << 16 | int(found["number"], 16), found["creator"], index), end
    tag = tag_for_keyword(found["keyword"])
    if tag is None:
        near = ", ".join(get_close_matches(found["keyword"], keyword_dict, n=3))
        raise CannotEditError(
            f"no attribute is called {found['keyword']!r}" + (f"; did you mean {near}?" if near else "")
        )
    return Node(int(tag), None, index), end
