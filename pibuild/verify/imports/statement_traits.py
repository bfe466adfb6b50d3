"""What is in a statement of Python code, whatever of it is executed: the names that it sets, and how it may end."""

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_CHANGING_METHODS = frozenset(("update", "setdefault", "pop", "popitem", "clear"))


def unsteady_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names whose values are not followed: functions set them, or something in them."""
    for node in ast.walk(tree):
        match node:
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                yield from names
            case ast.NamedExpr(target=ast.Name(id=name)):
                yield name
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method in _CHANGING_METHODS:
                yield name
            case ast.Attribute(value=ast.Name(id="__all__"), ctx=ast.Load()):
                yield "__all__"


_LOOKUPS = frozenset(("get", "items", "keys", "values"))


def aliased_names(tree: ast.Module) -> frozenset[str]:
    """Return the names that are used for more than a look-up: `name[key]`, `key in name`, `name.get(key)`."""
    uses = Counter[str]()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                uses[name] += 1
            case (
                ast.Subscript(value=ast.Name(id=name), ctx=ast.Load())
                | ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[ast.Name(id=name)])
            ):
                uses[name] -= 1
            case ast.Attribute(value=ast.Name(id=name), attr=method) if method in _LOOKUPS:
                uses[name] -= 1
    return frozenset(name for name, count in uses.items() if count)


class StatementTraits(NamedTuple):
    """What is in a statement; `*` of its names stands for any."""

    nodes: int
    stored_names: frozenset[str]
    may_return: bool
    may_raise: bool
    may_leave: bool
    """Whether it has a `break` or `continue`."""
    has_yield: bool


def statement_traits(statement: ast.stmt) -> StatementTraits:
    """Return what is in a statement."""
    names, kinds, nodes = set[str](), set[type[ast.AST]](), 0
    for node in ast.walk(statement):
        nodes += 1
        kinds.add(type(node))
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                names.add(name)
            case ast.alias(name=name, asname=as_name):
                names.add(as_name or name.partition(".")[0])
            case ast.MatchMapping(rest=str(name)):
                names.add(name)
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
                | ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                names.add(name)
    may_return = ast.Return in kinds
    has_yield = not kinds.isdisjoint((ast.Yield, ast.YieldFrom))
    may_leave = not kinds.isdisjoint((ast.Break, ast.Continue))
    return StatementTraits(nodes, frozenset(names), may_return, ast.Raise in kinds, may_leave, has_yield)


def blocks_of(statement: ast.stmt) -> list[Sequence[ast.stmt]]:
    """Return the blocks of a loop, or of `match`."""
    if isinstance(statement, ast.Match):
        return [case.body for case in statement.cases]
    return [getattr(statement, name, []) for name in ("body", "orelse")]
