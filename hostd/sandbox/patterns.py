"""`match` under the policy.

It reads items, lengths and attributes from C, past the guards. The guards of items and of iteration are Python's own; that of
attributes judges names alone, and those of a pattern stand in the text.
"""

from __future__ import annotations

import ast
from typing import Any

from RestrictedPython import RestrictingNodeTransformer

from hostd.sandbox.guards import is_hidden


class Patterns(RestrictingNodeTransformer):  # type: ignore[misc]  # the library ships no types
    """The nodes of `match`, which the library refuses."""

    def visit_Match(self, node: ast.Match) -> Any:  # noqa: N802 - ast names the node
        """Allow `match`; patterns are judged below."""
        return self.node_contents_visit(node)

    def visit_match_case(self, node: ast.match_case) -> Any:
        """Allow a case and its guard."""
        return self.node_contents_visit(node)

    def visit_MatchValue(self, node: ast.MatchValue) -> Any:  # noqa: N802 - ast names the node
        """Allow a constant, or a dotted name whose parts are no hidden attributes."""
        self._check_dotted(node.value)
        return node

    def visit_MatchSingleton(self, node: ast.MatchSingleton) -> Any:  # noqa: N802 - ast names the node
        """Allow None, True and False."""
        return node

    def visit_MatchSequence(self, node: ast.MatchSequence) -> Any:  # noqa: N802 - ast names the node
        """Allow a sequence of patterns."""
        return self.node_contents_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> Any:  # noqa: N802 - ast names the node
        """Check the name that takes the rest of a sequence."""
        self.check_name(node, node.name)
        return node

    def visit_MatchMapping(self, node: ast.MatchMapping) -> Any:  # noqa: N802 - ast names the node
        """Check the keys, and the name that takes the rest of a mapping."""
        self.check_name(node, node.rest)
        for key in node.keys:
            self._check_dotted(key)
        node.patterns = [self.visit(pattern) for pattern in node.patterns]
        return node

    def visit_MatchClass(self, node: ast.MatchClass) -> Any:  # noqa: N802 - ast names the node
        """Check the class's dotted name and the attributes that are read."""
        self._check_dotted(node.cls)
        for name in node.kwd_attrs:
            self._check_attribute(node, name)
        node.patterns = [self.visit(pattern) for pattern in node.patterns]
        node.kwd_patterns = [self.visit(pattern) for pattern in node.kwd_patterns]
        return node

    def visit_MatchAs(self, node: ast.MatchAs) -> Any:  # noqa: N802 - ast names the node
        """Check the name that a pattern is bound to."""
        self.check_name(node, node.name)
        return self.node_contents_visit(node)

    def visit_MatchOr(self, node: ast.MatchOr) -> Any:  # noqa: N802 - ast names the node
        """Allow alternatives."""
        return self.node_contents_visit(node)

    def _check_dotted(self, node: ast.expr) -> None:
        """Check the names and attributes of a pattern's value, which the compiler wants as they are."""
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute):
                self._check_attribute(part, part.attr)
            elif isinstance(part, ast.Name):
                self.check_name(part, part.id)
            elif not isinstance(
                part, (ast.Constant, ast.UnaryOp, ast.BinOp, ast.unaryop, ast.operator, ast.expr_context)
            ):
                self.error(part, "a pattern can hold constants and dotted names only")

    def _check_attribute(self, node: ast.AST, name: str) -> None:
        if is_hidden(name) or name == "format":
            self.error(node, f"`{name}` is not offered to scripts")
        elif name == "args":  # which the guard of attributes looks through
            self.error(node, "`args` is not offered to patterns; read it as `error.args`")
