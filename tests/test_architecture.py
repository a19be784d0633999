"""The structure that docs and code promise, read off the sources with `ast`.

Each check is a function from a module's source to complaints. One test runs all of them over the
two packages, another plants what each must find, so that no check can go blind.
"""

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typing_extensions import TypeIs

ROOT = Path(__file__).parents[1]

# The layers of sim_engine with the modules that each has; a layer may import itself and those
# before it. The leaves import nothing of the package but each other, and are there for the engine
# and what is above it. Everything else starts the program: it may import all, nothing imports it.
LAYERS = {
    "types": ("types",),
    "rules": ("rules",),
    "ledger": ("ledger",),
    "engine": ("engine", "collector", "evidence", "intake", "observation", "pending"),
    "api": ("api",),
}
LEAVES = ("errors", "settings", "validation")
ORDER = ("types", "rules", "ledger", "leaves", "engine", "api", "start")

# The rules depend on their input alone: nothing that tells the time, draws, waits, logs or reaches
# outside the process.
IMPURE = {
    "asyncio", "concurrent", "datetime", "http", "locale", "logging", "multiprocessing", "os",
    "pathlib", "platform", "random", "secrets", "socket", "sqlite3", "subprocess", "tempfile",
    "threading", "time", "urllib", "uuid", "warnings",
}  # fmt: skip

# Libraries that belong to one part of a package, so that the others stay free of them.
HOMES = {
    "sqlalchemy": (
        "sim_engine.ledger",
        "sim_engine.engine",
        "sim_engine.pending",
        "sim_engine.observation",
    ),
    "sqlite3": ("sim_engine.ledger",),
    "fastapi": ("sim_engine.api", "sim_engine.main", "sim_orchestrator.local_model"),
    "starlette": ("sim_engine.api", "sim_engine.main", "sim_orchestrator.local_model"),
    "ollama": ("sim_orchestrator.minds",),
    "xllamacpp": ("sim_orchestrator.local_model",),
}

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
REASON = "# Long because "


class Module:
    """One source file: its dotted name, its text and its tree."""

    def __init__(self, name: str, text: str, is_package: bool = False) -> None:
        self.name = name
        self.text = text
        self.tree = ast.parse(text)
        self.is_package = is_package

    def is_in(self, *packages: str) -> bool:
        """Say whether this is one of the packages or lies in one of them."""
        return any(self.name == p or self.name.startswith(p + ".") for p in packages)

    def imports(self) -> Iterator[tuple[int, str]]:
        """Yield line and full dotted name of everything imported, anywhere in the module."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    parts = self.name.split(".")
                    parts = parts[: len(parts) - node.level + self.is_package]
                    base = ".".join([*parts, base] if base else parts)
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def layer_of(name: str) -> str | None:
    """Name the layer of a dotted name; None outside sim_engine and for its versions."""
    package, _, rest = name.partition(".")
    member = rest.partition(".")[0]
    if package != "sim_engine" or member in ("", "__version__", "PROTOCOL_VERSION"):
        return None
    if member in LEAVES:
        return "leaves"
    return next((layer for layer, members in LAYERS.items() if member in members), "start")


def wrong_direction(module: Module) -> Iterator[tuple[int, str]]:
    """`types <- rules <- ledger <- engine <- api`; the leaves below the engine import no layer."""
    own = layer_of(module.name)
    for line, name in module.imports():
        other = layer_of(name)
        if own is None or other is None:
            continue
        if ORDER.index(other) > ORDER.index(own) or (own == "leaves" and other != "leaves"):
            yield line, f"{module.name} ({own}) imports {name} ({other})"


def foreign_in_rules(module: Module) -> Iterator[tuple[int, str]]:
    """The rules import themselves, the types and the pure part of the standard library."""
    if not module.is_in("sim_engine.rules"):
        return
    for line, name in module.imports():
        top = name.split(".")[0]
        if top == "sim_engine":
            continue  # wrong_direction judges these
        if top not in sys.stdlib_module_names:
            yield line, f"a rule imports {name}"
        elif top in IMPURE:
            yield line, f"a rule imports {name}, whose answers are not decided by the request"


def inexact_in_rules(module: Module) -> Iterator[tuple[int, str]]:
    """No float, no true division and nothing that differs between processes in the rules."""
    if not module.is_in("sim_engine.rules"):
        return
    for node in ast.walk(module.tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield line, f"the number {node.value} is no integer"
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield line, "true division gives a float: use //"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in {"float", "round", "complex"}:
                yield line, f"{node.func.id}() gives what is no exact integer"
            if node.func.id in {"hash", "id", "open", "print", "input"}:
                yield line, f"{node.func.id}() depends on the process or acts outside it"


def orchestrator_knows_only_types(module: Module) -> Iterator[tuple[int, str]]:
    """The orchestrator knows the engine's wire contract alone, the engine no orchestrator."""
    for line, name in module.imports():
        package, _, rest = name.partition(".")
        known = rest.partition(".")[0] == "types"
        if module.is_in("sim_orchestrator") and package == "sim_engine" and not known:
            yield line, f"the orchestrator imports {name}"
        if module.is_in("sim_engine") and package == "sim_orchestrator":
            yield line, f"the engine imports {name}"


def library_outside_its_home(module: Module) -> Iterator[tuple[int, str]]:
    """SQL stays below the API, HTTP in it, each model client in its mind."""
    for line, name in module.imports():
        homes = HOMES.get(name.split(".")[0])
        if homes and not module.is_in(*homes):
            yield line, f"{name} belongs in {' or '.join(homes)}"


def too_long(module: Module) -> Iterator[tuple[int, str]]:
    """Modules of 500 lines and functions of 70, more only with a comment `# Long because …`."""
    lines = module.text.splitlines()
    before_code = lines[: module.tree.body[0].lineno] if module.tree.body else lines
    if len(lines) > MODULE_LINES_MAX and not any(line.startswith(REASON) for line in before_code):
        yield 1, f"{len(lines)} lines: split it, or say `{REASON}…` above the first statement"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            end = node.end_lineno or node.lineno
            length = end - node.lineno + 1
            if length > FUNCTION_LINES_MAX and not any(
                line.strip().startswith(REASON) for line in lines[node.lineno : end]
            ):
                yield node.lineno, f"{node.name}() has {length} lines: split it or say `{REASON}…`"


def swallows_everything(module: Module) -> Iterator[tuple[int, str]]:
    """No handler for every exception, but one that undoes and raises the same again."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            ends_in_raise = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(map(is_broad, caught)) and not ends_in_raise:
                yield node.lineno, "catches every exception: name those that are expected"
        elif is_suppress(node) and any(map(is_broad, node.args)):
            yield node.lineno, "suppresses every exception: name those that are expected"


def is_suppress(node: ast.AST) -> TypeIs[ast.Call]:
    """Say whether this is a call of `contextlib.suppress`."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress")


def is_broad(expression: ast.expr | None) -> bool:
    """Say whether what an `except` names is everything."""
    return expression is None or ast.unparse(expression).split(".")[-1] in {
        "Exception",
        "BaseException",
    }


CHECKS: tuple[Callable[[Module], Iterator[tuple[int, str]]], ...] = (
    wrong_direction,
    foreign_in_rules,
    inexact_in_rules,
    orchestrator_knows_only_types,
    library_outside_its_home,
    too_long,
    swallows_everything,
)


def modules() -> Iterator[tuple[Path, Module]]:
    """Read every source file of the two packages."""
    for package in ("sim_engine", "sim_orchestrator"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            yield path.relative_to(ROOT), Module(name, path.read_text("utf-8"), is_package)


@pytest.mark.parametrize("member", [member for members in LAYERS.values() for member in members])
def test_every_member_of_a_layer_exists(member: str):
    assert any(module.is_in(f"sim_engine.{member}") for _, module in modules())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_sources_keep_the_structure(check: Callable[[Module], Iterator[tuple[int, str]]]):
    read = list(modules())
    assert {"sim_engine", "sim_orchestrator"} <= {module.name for _, module in read}
    complaints = [f"{path}:{line}: {what}" for path, module in read for line, what in check(module)]
    assert not complaints, "\n" + "\n".join(complaints)


LONG_FUNCTION = "def f():\n" + "    x = 1\n" * 70

PLANTED = [
    (wrong_direction, "sim_engine.rules.turn", "from sim_engine.ledger.store import Store", 1),
    (wrong_direction, "sim_engine.rules.turn", "from ..ledger import store", 1),
    (wrong_direction, "sim_engine.rules.turn", "def f():\n    import sim_engine.engine", 2),
    (wrong_direction, "sim_engine.types.actions", "from sim_engine.rules import numbers", 1),
    (wrong_direction, "sim_engine.engine", "from sim_engine import main", 1),
    (wrong_direction, "sim_engine.engine", "from sim_engine import settings, __version__", None),
    (wrong_direction, "sim_engine.rules.turn", "from sim_engine.errors import Halted", 1),
    (wrong_direction, "sim_engine.errors", "from sim_engine.rules import turn", 1),
    (wrong_direction, "sim_engine.pending", "from sim_engine.api import app", 1),
    (wrong_direction, "sim_engine.api.app", "from sim_engine.rules import numbers", None),
    (wrong_direction, "sim_engine.rules.turn", "from .numbers import pick", None),
    (wrong_direction, "sim_engine.__main__", "from sim_engine.api.app import create", None),
    (foreign_in_rules, "sim_engine.rules.turn", "import time", 1),
    (foreign_in_rules, "sim_engine.rules.a.b", "from random import choice", 1),
    (foreign_in_rules, "sim_engine.rules.turn", "import pydantic", 1),
    (foreign_in_rules, "sim_engine.rules.turn", "from hashlib import sha256", None),
    (foreign_in_rules, "sim_engine.ledger.store", "import time", None),
    (inexact_in_rules, "sim_engine.rules.turn", "x = 0.5", 1),
    (inexact_in_rules, "sim_engine.rules.turn", "x = y / 2", 1),
    (inexact_in_rules, "sim_engine.rules.turn", "x = 1\nx /= 2", 2),
    (inexact_in_rules, "sim_engine.rules.turn", "x = float(y)", 1),
    (inexact_in_rules, "sim_engine.rules.turn", "x = hash(y)", 1),
    (inexact_in_rules, "sim_engine.rules.turn", "x = y // 2", None),
    (orchestrator_knows_only_types, "sim_orchestrator.x", "from sim_engine import engine", 1),
    (orchestrator_knows_only_types, "sim_orchestrator.x", "import sim_engine.rules", 1),
    (orchestrator_knows_only_types, "sim_orchestrator.x", "from sim_engine import types", None),
    (orchestrator_knows_only_types, "sim_orchestrator.x", "from sim_engine.types import a", None),
    (orchestrator_knows_only_types, "sim_engine.x", "import sim_orchestrator", 1),
    (library_outside_its_home, "sim_engine.api.routes", "import sqlite3", 1),
    (library_outside_its_home, "sim_engine.engine", "from fastapi import FastAPI", 1),
    (library_outside_its_home, "sim_engine.ledger.store", "import sqlite3", None),
    (too_long, "sim_engine.x", "x = 1\n" * 501, 1),
    (too_long, "sim_engine.x", f"{REASON}it is a table.\n" + "x = 1\n" * 501, None),
    (too_long, "sim_engine.x", LONG_FUNCTION, 1),
    (too_long, "sim_engine.x", LONG_FUNCTION + f"    {REASON}it is a list.\n    y = 1\n", None),
    (swallows_everything, "sim_engine.x", "try:\n    f()\nexcept:\n    pass", 3),
    (swallows_everything, "sim_engine.x", "try:\n    f()\nexcept (A, Exception):\n    pass", 3),
    (swallows_everything, "sim_engine.x", "try:\n    f()\nexcept BaseException as e:\n    g(e)", 3),
    (swallows_everything, "sim_engine.x", "try:\n    f()\nexcept Exception:\n    raise", None),
    (swallows_everything, "sim_engine.x", "with contextlib.suppress(Exception):\n    f()", 1),
    (swallows_everything, "sim_engine.x", "try:\n    f()\nexcept OSError:\n    pass", None),
]  # fmt: skip


@pytest.mark.parametrize(("check", "name", "text", "line"), PLANTED)
def test_checks_find_what_they_look_for(
    check: Callable[[Module], Iterator[tuple[int, str]]], name: str, text: str, line: int | None
):
    found = [where for where, _ in check(Module(name, text))]
    assert found == ([] if line is None else [line])
