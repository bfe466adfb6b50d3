"""How much of a wheel's Python code is followed, and what was parsed of it."""

import ast

from pibuild.verify.imports.statement_traits import StatementTraits, statement_traits
from pibuild.verify.imports.syntax import Syntax, newest_syntax, parse_code

_MAX_STEPS, _MAX_BYTES, _MAX_ALL_BYTES = 150_000, 128 << 10, 512 << 10
"""Of all code; and how large a Python file may be, and all of them."""


class TooMuchError(Exception):
    """There is more code than is followed."""


class CodeBudget:
    """How much code may still be followed, and what was parsed of it."""

    def __init__(self, *, keeps_trees: bool = False) -> None:
        """Start with the full budget. `keeps_trees` keeps parsed files, for code that is followed several times."""
        self.steps, self._bytes, self._keeps_trees = _MAX_STEPS, _MAX_ALL_BYTES, keeps_trees
        self._trees: dict[str, ast.Module] = {}
        self._syntax: dict[str, Syntax] = {}
        self._traits: dict[ast.stmt, StatementTraits] = {}

    def release(self) -> None:
        """Forget what was parsed, which takes a hundred times the size of the code."""
        self._trees.clear()
        self._traits.clear()

    def spend(self, steps: int = 1) -> None:
        """Count steps; raise TooMuchError if there were too many."""
        self.steps -= steps
        if self.steps < 0:
            raise TooMuchError

    def has_room(self, path: str, code: bytes) -> bool:
        """Return whether there is room for a file's code, which is then used up."""
        if path not in self._trees:
            if len(code) > min(_MAX_BYTES, self._bytes):
                return False
            self._bytes -= len(code)
        return True

    def parsed(self, path: str, code: bytes) -> ast.Module:
        """Return the statements of a file; raise one of PARSE_ERRORS if it can't be parsed."""
        tree = self._trees.get(path)
        if tree is None:
            tree = parse_code(code)
            if self._keeps_trees:
                self._trees[path] = tree
        return tree

    def newest_syntax(self, path: str, tree: ast.Module) -> Syntax:
        """Return the newest thing that is written in a file."""
        if path not in self._syntax:
            self._syntax[path] = newest_syntax(tree)
        return self._syntax[path]

    def traits(self, node: ast.stmt) -> StatementTraits:
        """Return what is in a statement, whatever of it is executed."""
        if node not in self._traits:
            self._traits[node] = statement_traits(node)
            self.spend(self._traits[node].nodes // 4)
        return self._traits[node]
