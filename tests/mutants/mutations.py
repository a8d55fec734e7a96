"""Every small change of a module that mutmut's operators know, as the source of the changed module.

mutmut itself leaves out decorated functions (properties, routes) and runs each mutant through a trampoline that finds
functions by the path of their file, which layers and handlers do not follow. So its operators are used, and nothing
else of it: each mutant is the whole module with one node replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators

LEFT_OUT = (cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom, cst.TypeAlias)
"""Types, and what runs when a module is imported."""

LEFT_OUT_CALLS = ("len", "isinstance", "TypeVar", "cast", "Field")
"""As in mutmut, and calls that mean something to type checkers or to the OpenAPI document alone, which `make check`
compares."""


@dataclass(frozen=True)
class Mutant:
    """A module with one change."""

    path: Path
    number: int
    """Among the mutants of its module."""
    line: int
    last_line: int
    scope: str
    """Function or method that holds the change; '' for the module's own level."""
    before: str
    after: str
    source: str

    @property
    def name(self) -> str:
        """What `make mutants` calls it: it stays the same as long as the module does."""
        return f"{self.path.stem if self.path.stem != 'app' else self.path.parent.name}:{self.number}"

    def __str__(self) -> str:
        return f"{self.name} {self.path}:{self.line} {self.scope}: {self.before!r} -> {self.after!r}"


class _Visitor(cst.CSTVisitor):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[cst.CSTNode, cst.CSTNode, int, int, str]] = []
        self._scope: list[str] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if (
            isinstance(node, LEFT_OUT)
            or _is_text_alone(node)
            or _is_left_out_call(node)
            or _is_for_types(node)
            or _is_type(node)
        ):
            return False
        if isinstance(node, cst.FunctionDef | cst.ClassDef):
            self._scope.append(node.name.value)
        for kind, operator in mutation_operators:
            if isinstance(node, kind):
                for mutated in operator(node):
                    place = self.get_metadata(PositionProvider, node, None)
                    if place is not None:  # of an operator, the expression around it is mutated as well
                        self.found.append((node, mutated, place.start.line, place.end.line, ".".join(self._scope)))
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.FunctionDef | cst.ClassDef):
            self._scope.pop()


def _is_text_alone(node: cst.CSTNode) -> bool:
    """A docstring of anything."""
    return isinstance(node, cst.Expr) and isinstance(node.value, cst.SimpleString | cst.ConcatenatedString)


def _is_type(node: cst.CSTNode) -> bool:
    """The definition of a type, such as `Rows = list[Row]`."""
    if not isinstance(node, cst.Assign) or not isinstance(node.targets[0].target, cst.Name):
        return False
    return node.targets[0].target.value[0].isupper() and not node.targets[0].target.value.isupper()


def _is_left_out_call(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value in LEFT_OUT_CALLS


def _is_for_types(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.If) and isinstance(node.test, cst.Name) and node.test.value == "TYPE_CHECKING"


def mutants(path: Path, sample: int = 1) -> Iterator[Mutant]:
    """The mutants of a module, from top to bottom; those that are no Python are left out.

    Args:
        sample: gives one in so many.
    """
    wrapper = MetadataWrapper(cst.parse_module(path.read_text()), unsafe_skip_copy=True)
    visitor = _Visitor()
    wrapper.visit(visitor)
    module = wrapper.module
    seen = {module.code}
    for number, (node, mutated, line, last_line, scope) in enumerate(visitor.found):
        if number % sample:
            continue
        changed = module.deep_replace(node, mutated)
        assert isinstance(changed, cst.Module)
        source = changed.code
        if source in seen:
            continue
        seen.add(source)
        try:
            compile(source, str(path), "exec", dont_inherit=True)
        except SyntaxError:
            continue
        before, after = _text(module, node), _text(module, mutated)
        yield Mutant(path, number, line, last_line, scope, before, after, source)


def _text(module: cst.Module, node: cst.CSTNode) -> str:
    return " ".join(module.code_for_node(node).split())
