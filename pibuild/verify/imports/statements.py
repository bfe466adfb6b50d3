"""What the statements of a wheel's Python code do when it is imported on a Pi.

Names that a loop or a condition may set are UNKNOWN, if it is not known.

Source: the language reference of Python 3.13, "Simple statements" and "Compound statements".
"""

import ast
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from pibuild.verify.imports.code_budget import CodeBudget
from pibuild.verify.imports.exceptions import ErrorValue, ImportFault, OwnClass, RaisedError, error_class, is_caught
from pibuild.verify.imports.expression_values import ExpressionValues
from pibuild.verify.imports.import_failures import ImportFailures
from pibuild.verify.imports.import_frames import Frame, OwnFunction, SearchPath, Suppressing, place_of
from pibuild.verify.imports.known_functions import UNBOUND, UNKNOWN, Outside
from pibuild.verify.imports.known_operators import compared
from pibuild.verify.imports.statement_traits import blocks_of

_PLAIN_DECORATORS = ("functools.cache", "functools.lru_cache")


class ImportedModules(Protocol):
    """The modules that statements import and change."""

    def import_names(self, statement: ast.Import, frame: Frame) -> None:
        """Execute `import …`."""

    def import_from(self, statement: ast.ImportFrom, frame: Frame) -> None:
        """Execute `from … import …`."""

    def forget_attribute(self, module: str, name: str) -> None:
        """Keep that a name of a module has another value."""

    def add_folder(self, folder: object, package: str) -> None:
        """Make Python look for modules in a folder of the wheel, as modules of a package or without one."""

    def note_made(self, name: str) -> None:
        """Keep that the code puts a module into sys.modules."""


class Statements:
    """Executes statements."""

    def __init__(
        self, modules: ImportedModules, expressions: ExpressionValues, failures: ImportFailures, budget: CodeBudget
    ) -> None:
        """Take the code that the statements stand in."""
        self._modules, self._expressions, self._failures, self._budget = modules, expressions, failures, budget
        self._handled: list[ErrorValue] = []
        """The exceptions whose handlers are executed, the innermost last."""

    def execute(self, statements: Iterable[ast.stmt], frame: Frame) -> None:
        """Execute statements until one ends them; raise RaisedError if one raises an exception."""
        for statement in statements:
            if frame.has_ended:
                return
            self._budget.spend()
            self._statement(statement, frame)

    def _statement(self, statement: ast.stmt, frame: Frame) -> None:  # noqa: C901, PLR0912, PLR0915  a case for each kind
        match statement:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=elements)):
                frame.names["__all__"] = self._value(ast.Tuple(elements, ast.Load()), frame)
            case ast.Assign(targets=targets, value=value):
                result = self._value(value, frame)
                for target in targets:
                    self._bind(target, result, frame)
            case ast.AnnAssign(target=target, annotation=annotation, value=value):
                if not frame.is_function:
                    self._annotate([annotation], frame)
                if value:
                    self._bind(target, self._value(value, frame), frame)
            case ast.AugAssign(target=target, value=ast.List(elts=elements)) if path := self._search_path(
                target, frame
            ):
                for each in elements:
                    self._modules.add_folder(self._value(each, frame), path.package)
            case ast.AugAssign(target=ast.Name(id=name) as target, op=operator, value=value):
                read = ast.copy_location(ast.Name(name, ast.Load()), target)
                value = (
                    ast.Tuple(value.elts, ast.Load()) if name == "__all__" and isinstance(value, ast.List) else value
                )
                whole = ast.copy_location(ast.BinOp(read, operator, value), target)
                self._bind(target, self._value(whole, frame), frame)
            case ast.Import():
                self._modules.import_names(statement, frame)
            case ast.ImportFrom():
                self._modules.import_from(statement, frame)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                frame.names[name] = self._function(statement, frame)
            case ast.ClassDef(name=name):
                frame.names[name] = self._class(statement, frame)
            case ast.If():
                self._branches(statement, frame)
            case ast.Try() | ast.TryStar():
                self._try(statement, frame)
            case ast.Return(value=value):
                frame.returned.append(self._value(value, frame) if value else None)
                frame.has_ended = True
            case ast.Break() | ast.Continue():
                frame.left = "break" if isinstance(statement, ast.Break) else "continue"
                frame.has_ended = True
            case ast.Raise():
                self._raise(statement, frame)
            case ast.Assert(test=test):
                if self._truth(test, frame) is False:
                    fault = self._failures.last_fault or ImportFault(
                        kind="raise", error=AssertionError, subject="AssertionError"
                    )
                    self._failures.fail(fault, frame, AssertionError)
            case ast.With():
                self._with(statement, frame)
            case ast.For():
                self._for(statement, frame)
            case ast.While():
                self._while(statement, frame)
            case ast.Match():
                self._match(statement, frame)
            case ast.AsyncFor() | ast.AsyncWith():
                self._forget(statement, frame)
                self._perhaps([statement], frame, inner=blocks_of(statement))
            case _:
                self._forget(statement, frame)
                for part in ast.iter_child_nodes(statement):
                    if isinstance(part, ast.expr):
                        self._value(part, frame)

    def _value(self, node: ast.expr, frame: Frame) -> object:
        return self._expressions.value(node, frame)

    def _truth(self, node: ast.expr, frame: Frame) -> bool | None:
        return self._expressions.truth(self._value(node, frame))

    def _search_path(self, node: ast.expr, frame: Frame) -> SearchPath | None:
        value = self._value(node, frame) if isinstance(node, (ast.Name, ast.Attribute)) else None
        return value if isinstance(value, SearchPath) else None

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, frame: Frame) -> object:
        decorators = [self._value(each, frame) for each in node.decorator_list]
        annotations = [argument.annotation for argument in ast.walk(node.args) if isinstance(argument, ast.arg)]
        for each in [*node.args.defaults, *node.args.kw_defaults]:
            if each is not None:
                self._value(each, frame)
        self._annotate([*annotations, node.returns], frame)
        is_plain = all(isinstance(each, Outside) and each.name in _PLAIN_DECORATORS for each in decorators)
        return OwnFunction(frame.module, node, frame.unsteady) if is_plain and not frame.is_function else UNKNOWN

    def _annotate(self, annotations: Iterable[ast.expr | None], frame: Frame) -> None:
        """Evaluate annotations, as Pythons before 3.14 do."""
        if frame.module.names.get("annotations") != Outside("__future__.annotations"):
            for each in annotations:
                if each is not None and not isinstance(each, (ast.Constant, ast.Name)):
                    self._value(each, frame)

    def _class(self, node: ast.ClassDef, frame: Frame) -> object:
        for decorator in node.decorator_list:
            self._value(decorator, frame)
        bases = tuple(self._value(base, frame) for base in node.bases)
        inner = frame.part(is_certain=frame.is_certain)
        self.execute(node.body, inner)
        frame.is_certain, frame.may_have_raised = inner.is_certain, inner.may_have_raised
        stored = {name for each in node.body for name in self._budget.traits(each).stored_names}
        members = {name: inner.names[name] for name in stored if name in inner.names}
        return UNKNOWN if node.decorator_list or node.keywords else OwnClass(node.name, bases, members)

    def _branches(self, statement: ast.If, frame: Frame) -> None:
        truth = self._truth(statement.test, frame)
        if truth is None:
            self._perhaps([*statement.body, *statement.orelse], frame, inner=(statement.body, statement.orelse))
            return
        if frame.names is frame.module.names:
            frame.module.truths[place_of(statement.test)] = truth
        self.execute(statement.body if truth else statement.orelse, frame)
        if frame.names is frame.module.names:
            self._unbind(statement.orelse if truth else statement.body, frame)

    def _raise(self, statement: ast.Raise, frame: Frame) -> None:
        value = self._value(statement.exc, frame) if statement.exc else None
        handled = self._handled[-1] if self._handled else None
        if statement.exc is None and handled:
            value = handled
        error = value.error if isinstance(value, ErrorValue) else error_class(value) or UNKNOWN
        named = error.__name__ if isinstance(error, type) else getattr(error, "name", "an exception")
        fault = (
            (value.fault if isinstance(value, ErrorValue) else None)
            or (handled.fault if handled else None)
            or self._failures.last_fault
            or ImportFault(kind="raise", error=Exception, subject=named, path=frame.module.path)
        )
        raise RaisedError(ErrorValue(error, fault), is_certain=frame.is_certain)

    def _try(self, statement: ast.Try | ast.TryStar, frame: Frame) -> None:
        try:
            self._tried(statement, frame)
        finally:
            ended, frame.has_ended = frame.has_ended, False
            self.execute(statement.finalbody, frame)
            frame.has_ended = frame.has_ended or ended

    def _tried(self, statement: ast.Try | ast.TryStar, frame: Frame) -> None:
        goes_on = any(self._goes_on(handler, frame) for handler in statement.handlers)
        outer_doubts, self._failures.doubts = self._failures.doubts, set()
        was_guarded, was_certain, was_reached = frame.is_guarded, frame.is_certain, frame.is_reached
        frame.is_guarded = was_guarded or goes_on
        frame.is_reached, frame.is_certain = was_reached and was_certain, True
        raised = None
        try:
            self.execute(statement.body, frame)
        except RaisedError as error:
            raised = error
        frame.is_guarded, frame.is_reached = was_guarded, was_reached
        frame.is_certain = was_certain and frame.is_certain
        doubts, self._failures.doubts = self._failures.doubts, outer_doubts | self._failures.doubts
        if raised:
            self._handle(statement, raised, frame)
        elif self._may_catch(statement.handlers, doubts, frame):
            self._forget(statement, frame)
            self._perhaps([statement], frame, inner=[statement.orelse, *(each.body for each in statement.handlers)])
            if frame.has_ended:
                frame.has_ended, frame.left, frame.is_certain = False, "", False
                frame.returned.append(UNKNOWN)
        else:
            self.execute(statement.orelse, frame)

    def _goes_on(self, handler: ast.ExceptHandler, frame: Frame) -> bool:
        """Whether the code goes on after a handler, if a library could not be loaded."""
        gives_up = isinstance(handler.body[-1], ast.Raise)
        if gives_up and not any(self._budget.traits(each).may_return for each in handler.body):
            return False
        return handler.type is None or is_caught(OSError, self._value(handler.type, frame)) is not False

    def _handle(self, statement: ast.Try | ast.TryStar, raised: RaisedError, frame: Frame) -> None:
        """Execute the handler of an exception, if there is one; raise it again if there is none."""
        for handler in statement.handlers:
            caught = handler.type is None or is_caught(raised.value.error, self._value(handler.type, frame))
            if caught is False:
                continue
            if caught is None or not raised.is_certain:
                self._failures.swallow(raised)
                self._forget(statement, frame)
                self._perhaps([statement], frame, inner=[each.body for each in statement.handlers])
                return
            self._unbind(statement.body, frame)
            if handler.name:
                frame.names[handler.name] = raised.value
            self._handled.append(raised.value)
            try:
                self.execute(handler.body, frame)
            finally:
                self._handled.pop()
            if handler.name:
                frame.names[handler.name] = UNBOUND
            return
        raised.is_certain = raised.is_certain and frame.is_certain
        raise raised

    def _unbind(self, body: Sequence[ast.stmt], frame: Frame) -> None:
        """Keep that names have no value which a block would have set."""
        for each in body:
            for name in self._budget.traits(each).stored_names - {"*"}:
                frame.names.setdefault(name, UNBOUND)

    def _may_catch(self, handlers: Sequence[ast.ExceptHandler], doubts: Collection[str], frame: Frame) -> bool:
        """Return whether a handler may catch what something in a `try` may have raised."""
        if not handlers or not doubts:
            return False
        types = [self._value(handler.type, frame) if handler.type else Outside("BaseException") for handler in handlers]
        import_errors = {Outside("ImportError"), Outside("ModuleNotFoundError")}
        for value in types:
            every = set(value) if isinstance(value, tuple) else {value}
            if "call" in doubts or ("library" in doubts and not every <= import_errors):
                return True
            if "import" in doubts and is_caught(ModuleNotFoundError, value) is not False:
                return True
        return False

    def _with(self, statement: ast.With, frame: Frame) -> None:
        contexts = []
        for context in statement.items:
            contexts.append(self._context(context.context_expr, frame))
            if context.optional_vars:
                self._bind(context.optional_vars, UNKNOWN, frame)
        was_guarded, frame.is_guarded = frame.is_guarded, True  # a context may suppress exceptions
        outer_doubts, self._failures.doubts = self._failures.doubts, set()
        try:
            self.execute(statement.body, frame)
        except RaisedError as raised:
            answers = [is_caught(raised.value.error, each.errors) if each else None for each in contexts]
            if True not in answers:
                raised.is_certain = raised.is_certain and None not in answers
                raise
            if not raised.is_certain:
                self._failures.swallow(raised)
            self._unbind(statement.body, frame)
        finally:
            frame.is_guarded = was_guarded
            doubts, self._failures.doubts = self._failures.doubts, outer_doubts | self._failures.doubts
        if doubts and any(each is None or each.errors for each in contexts):
            self._forget(statement, frame)

    def _context(self, node: ast.expr, frame: Frame) -> Suppressing | None:
        """Return what a context suppresses; None if that is not known."""
        value = self._value(node, frame)
        if isinstance(value, Suppressing):
            return value
        function = node.func if isinstance(node, ast.Call) else node
        if isinstance(function, ast.Name) and function.id == "open" and "open" not in frame.names:
            return Suppressing(())
        while isinstance(function, ast.Attribute):
            function = function.value
        known = frame.module.names | frame.names
        root = known.get(function.id) if isinstance(function, ast.Name) else None
        is_pythons = isinstance(root, Outside) and root.name.partition(".")[0] in sys.stdlib_module_names
        is_stack = isinstance(root, Outside) and "ExitStack" in ast.unparse(node)
        return Suppressing(()) if is_pythons and not is_stack else None

    def _for(self, statement: ast.For, frame: Frame) -> None:
        items = self._expressions.iterated(statement.iter, frame)
        if items is None:
            self._forget(statement, frame)
            self._perhaps([statement], frame, inner=[statement.body, statement.orelse])
            return
        was_certain, returns = frame.is_certain, len(frame.returned)
        for value in items:
            self._bind(statement.target, value, frame)
            if self._round(statement, frame):
                break
        else:
            self.execute(statement.orelse, frame)
        self._after_loop(statement, frame, is_certain=was_certain, returns=returns)

    def _while(self, statement: ast.While, frame: Frame) -> None:
        truth = self._truth(statement.test, frame)
        if truth is None:
            self._forget(statement, frame)
            self._perhaps([statement], frame, inner=[statement.body, statement.orelse])
        elif truth is False:
            self.execute(statement.orelse, frame)
        else:
            was_certain, returns = frame.is_certain, len(frame.returned)
            if not self._round(statement, frame):
                self._forget(statement, frame)  # in further rounds
                frame.is_certain = False
            self._after_loop(statement, frame, is_certain=was_certain, returns=returns)

    def _round(self, statement: ast.For | ast.While, frame: Frame) -> bool:
        """Execute the body of a loop once; return whether that ends the loop."""
        self.execute(statement.body, frame)
        left, frame.left = frame.left, ""
        if left:
            frame.has_ended = False
        return left == "break" or frame.has_ended

    def _after_loop(self, statement: ast.stmt, frame: Frame, *, is_certain: bool, returns: int) -> None:
        """Forget what was set in rounds that may not have been executed; what follows is certain again."""
        if is_certain and not frame.is_certain:
            self._forget(statement, frame)
            frame.is_certain = len(frame.returned) == returns

    def _match(self, statement: ast.Match, frame: Frame) -> None:
        subject = self._value(statement.subject, frame)
        for number, case in enumerate(statement.cases):
            answer = self._matches(case.pattern, subject, frame)
            if answer is True and case.guard:
                answer = self._truth(case.guard, frame)
            if answer is None:
                self._perhaps([statement], frame, inner=[each.body for each in statement.cases[number:]])
                return
            if answer:
                self.execute(case.body, frame)
                return

    def _matches(self, pattern: ast.pattern, subject: object, frame: Frame) -> bool | None:
        """Return whether a value matches a pattern; None if that is not known."""
        match pattern:
            case ast.MatchAs(pattern=None, name=name):
                if name:
                    frame.names[name] = subject
                return True
            case ast.MatchValue(value=value):
                answer = compared(subject, ast.Eq(), self._value(value, frame))
                return answer if isinstance(answer, bool) else None
            case ast.MatchSingleton(value=None):
                answer = compared(subject, ast.Eq(), None)
                return answer if isinstance(answer, bool) else None
            case ast.MatchOr(patterns=patterns):
                answers = [self._matches(each, subject, frame) for each in patterns]
                return True if True in answers else None if None in answers else False
        return None

    def _forget(self, statement: ast.stmt, frame: Frame) -> None:
        """Forget the values of all names that a statement sets."""
        names = self._budget.traits(statement).stored_names
        frame.names.update(dict.fromkeys(frame.names if "*" in names else names, UNKNOWN))

    def _perhaps(
        self, statements: Sequence[ast.stmt], frame: Frame, inner: Sequence[Sequence[ast.stmt]] | None = None
    ) -> None:
        """Execute statements that may be left, or not be executed, and forget the names that they set."""
        for block in (statements,) if inner is None else inner:
            self._budget.spend(len(frame.names) // 8)
            part = frame.part(is_certain=False)
            try:
                self.execute(block, part)
            except RaisedError as raised:
                self._failures.swallow(raised)
            frame.returned += [UNKNOWN] * bool(part.returned)
        for each in statements:
            self._forget(each, frame)
        traits = [self._budget.traits(each) for each in statements]
        if any(each.may_raise for each in traits):
            frame.may_have_raised = True
            self._failures.note_doubt("call")
        if any(each.may_return for each in traits) and frame.is_function:
            frame.is_certain = False
            frame.returned.append(UNKNOWN)
        if any(each.may_leave for each in traits):
            frame.is_certain = False

    def _bind(self, target: ast.expr, value: object, frame: Frame) -> None:  # noqa: C901  a case for each kind
        match target:
            case ast.Name(id=name):
                frame.names[name] = value
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                known = isinstance(value, tuple) and len(value) == len(elements)
                known = known and not any(isinstance(each, ast.Starred) for each in elements)
                for number, each in enumerate(elements):
                    self._bind(each, value[number] if known and isinstance(value, tuple) else UNKNOWN, frame)
            case ast.Starred(value=inner):
                self._bind(inner, UNKNOWN, frame)
            case ast.Attribute(value=inner, attr=name):
                owner = self._value(inner, frame)
                if isinstance(owner, Outside):
                    self._modules.forget_attribute(owner.name, name)
                elif owner is None:
                    self._failures.be_consequence(AttributeError, frame)
            case ast.Subscript(value=ast.Call(func=ast.Name(id="globals" | "locals" | "vars"), args=[]), slice=key):
                index = self._value(key, frame)
                names = [index] if isinstance(index, str) else list(frame.module.names)
                frame.module.names.update(dict.fromkeys(names, UNKNOWN))
            case ast.Subscript(value=inner, slice=key):
                owner, index = self._value(inner, frame), self._value(key, frame)
                if owner == Outside("sys.modules") and isinstance(index, str):
                    self._modules.note_made(index)
                elif isinstance(owner, dict):
                    owner[UNKNOWN] = UNKNOWN
