"""What holds of the tree itself: stages, sizes, names of ops, clean tools, what an import costs, the package's data."""

from __future__ import annotations

import ast
import json
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from graphc.op import REGISTRY, Family

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "graphc"

# Declare -> Graph -> adjoint -> passes -> schedule -> codegen -> runtime, in full.  A file belongs to the longest name
# here that its own begins with, and imports from its own stage or from earlier ones.  CompiledFunction stands above
# what looks into it, since `explain`, `profile` and `draw` are its methods.
STAGES = [
    *("errors", "dims", "plain", "types", "scalar", "own_scalar", "op", "state", "line", "tree", "interned", "literal"),
    *("graph", "ops", "declare", "at", "operators", "methods", "standard", "trace", "elements"),
    *("control", "branches", "custom", "custom_op"),
    "interpret",
    *("join", "rewrite", "stabilise", "adjoint", "batch", "vmap", "tangent", "colouring", "jacobian"),
    *("linear", "implicit", "signature", "derived"),
    *("passes", "schedule", "codegen"),
    *("runtime", "inspect", "runtime.function", "debug", "compile", "specialise", "made", "function", "derivatives"),
    *("losses", "optim", "nn"),
]
# they may name ops
RULES = (
    *("ops", "declare", "at", "operators", "methods", "elements", "rewrite", "stabilise", "adjoint", "batch", "passes"),
    *("losses", "optim", "nn"),
)
LEAVES = {"input", "parameter", "constant"}


def module_of(path: Path) -> str:
    """The name of a file's module below graphc; that of graphc itself is empty."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


FILES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {module: ast.parse(path.read_text()) for module, path in FILES.items()}
every_module = pytest.mark.parametrize("module", FILES)


def is_in(module: str, stage: str) -> bool:
    return module == stage or module.startswith(stage + ".")


def stage_of(module: str) -> str:
    """The stage of a module; public names, in graphc/__init__.py, come after all."""
    return max((s for s in STAGES if is_in(module, s)), key=len, default="")


def height(module: str) -> int:
    return STAGES.index(stage_of(module)) if module else len(STAGES)


def for_types_only(tree: ast.AST) -> set[ast.AST]:
    """What stands under `if TYPE_CHECKING`."""
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    return {inner for block in blocks for statement in block.body for inner in ast.walk(statement)}


def imports(tree: ast.AST) -> Iterator[str]:
    """The modules of graphc that code imports, inside functions too."""
    skipped = for_types_only(tree)
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name == "graphc" or name.startswith("graphc."):
                below = name.removeprefix("graphc").removeprefix(".")
                yield below if below in FILES else below.rpartition(".")[0]


# the order of stages


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from graphc.dims import Dim", ["dims"]),
        ("from graphc.codegen import text", ["codegen.text"]),
        ("from graphc import losses", ["losses"]),
        ("import graphc.ops", ["ops"]),
        ("import graphc as gc", [""]),
        ("def f():\n    from graphc.compile import compile", ["compile"]),
        ("if TYPE_CHECKING:\n    from graphc.compile import compile\nelse:\n    import graphc.op", ["op"]),
        ("import graphcards", []),
    ],
)
def test_imports_are_found(code: str, found: list[str]) -> None:
    assert list(imports(ast.parse(code))) == found


@every_module
def test_a_file_imports_only_from_stages_before_its_own(module: str) -> None:
    later = [other for other in imports(TREES[module]) if height(other) > height(module)]
    assert not later, f"{module} (stage {stage_of(module)}) imports {later}"


def test_every_file_has_a_stage_and_every_stage_a_file() -> None:
    assert {stage_of(module) for module in FILES if module} == set(STAGES)


def test_files_of_a_stage_import_each_other_in_one_direction() -> None:
    TopologicalSorter({module: set(imports(tree)) - {module} for module, tree in TREES.items()}).prepare()


# sizes


@every_module
def test_files_have_at_most_400_lines(module: str) -> None:
    assert len(FILES[module].read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", [*FILES.values(), *sorted((ROOT / "benchmarks").rglob("*.py"))], ids=shown)
def test_functions_have_at_most_60_lines(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text()))
    functions = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert not [f.name for f in functions if (f.end_lineno or f.lineno) - f.lineno >= 60]


# names of ops


def texts(node: ast.AST) -> set[str]:
    return {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def is_op_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "name" and ast.unparse(node.value).split(".")[-1] == "op"


def ops_named(tree: ast.AST) -> set[str]:
    """Ops that code tells apart, looks up or makes by name; "?" where the names are not in sight."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(map(is_op_name, sides)):
                found |= set().union(*map(texts, sides)) or {"?"}
        elif isinstance(node, ast.Subscript) and (is_op_name(node.slice) or ast.unparse(node.value) == "REGISTRY"):
            found |= texts(node.slice) or {"?"}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr in ("primitive", "leaves"):
                found |= texts(node.args[0]) or {"?"}
            elif node.func.attr == "get" and is_op_name(node.args[0]):
                found.add("?")
        elif isinstance(node, ast.Match) and is_op_name(node.subject):
            found |= set().union(*(texts(case.pattern) for case in node.cases)) or {"?"}
    return found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("node.op.name == 'add'", {"add"}),
        ("n.operands[0].op.name not in ('sum', 'where')", {"sum", "where"}),
        ("op.name in TABLE", {"?"}),
        ("TABLE[node.op.name]", {"?"}),
        ("TABLE.get(node.op.name)", {"?"}),
        ("REGISTRY['exp']", {"exp"}),
        ("b.primitive('_slice', (x,))", {"_slice"}),
        ("match x.op.name:\n    case 'log' | 'exp': pass", {"log", "exp"}),
        ("f'{node.op.name}: {text}'", set()),
        ("atom.kind == 'max'", set()),
    ],
)
def test_names_of_ops_are_found(code: str, found: set[str]) -> None:
    assert ops_named(ast.parse(code)) == found


@pytest.mark.parametrize("module", [m for m in FILES if m and stage_of(m) not in (*RULES, "op", "graph")])
def test_only_rules_name_ops(module: str) -> None:
    """Scheduler and code generator know families; the leaves alone are told apart by name."""
    assert ops_named(TREES[module]) <= LEAVES


@pytest.mark.parametrize("module", [m for m in FILES if stage_of(m) not in RULES])
def test_no_op_of_the_compilers_own_is_named(module: str) -> None:
    """Ops whose names begin with _ have no public function and occur in records and rules only."""
    own = {name for name, op in REGISTRY.items() if name.startswith("_") and op.family is not Family.ITEM}
    assert own
    assert not own & texts(TREES[module])


# tools


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["mypy"]], ids=["ruff", "mypy"])
def test_tool_finds_nothing(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# what an import costs

_IMPORT = """
import json, sys, time
start = time.process_time()
import numpy
numpys = time.process_time() - start
import graphc
taken = time.process_time() - start
print(json.dumps([taken, numpys, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_import_is_quick_and_leaves_compilers_out() -> None:
    """At most 0.4 s in a fresh process, or twice NumPy's, by the time of the process's own, which no other changes."""
    runs = []
    for _ in range(6):
        done = subprocess.run([sys.executable, "-c", _IMPORT], cwd=ROOT, check=True, capture_output=True, text=True)
        runs.append(json.loads(done.stdout))
    assert not {"numba", "llvmlite", "scipy", "networkx"} & set(runs[0][2])
    taken, numpys = (statistics.median(times) for times in list(zip(*runs[1:], strict=True))[:2])
    assert taken <= max(0.4, 2 * numpys)


# the package's data


def test_package_data() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = {re.split("[><=]", d)[0]: d for d in project["dependencies"]}
    assert project["requires-python"] == ">=3.11"
    assert set(bounds) == {"numpy", "numba", "scipy", "networkx"}
    assert all(">=" in bound for bound in bounds.values())
    assert "<" in bounds["numba"]  # it pins llvmlite, which is imported directly
    assert set(project["optional-dependencies"]) == {"test", "bench", "examples", "docs"}
    assert {"ruff", "mypy"} <= {re.split("[><=]", d)[0] for d in project["optional-dependencies"]["test"]}
    assert project["license"] == "MIT"
    assert project["license-files"] == ["LICENSE"]


PLACES = ("graphc", "tests", "benchmarks", "examples", "docs", ".ci", "README.md", "LICENSE", "pyproject.toml")
FOREIGN = re.compile(r"(?<![\w.)}])/work\b|\bshared/|\bpypi\.org|pythonhosted\.org|anaconda\.org", re.IGNORECASE)


def files_of_the_tree() -> Iterator[Path]:
    for place in PLACES:
        path = ROOT / place
        yield from (p for p in sorted(path.rglob("*")) if p.is_file()) if path.is_dir() else [path]


def test_no_file_names_a_machine_or_a_registry() -> None:
    """A tree stands anywhere: no folder of the machine it was written on, no host that packages come from."""
    found = []
    for path in files_of_the_tree():
        if path == Path(__file__) or "__pycache__" in path.parts:
            continue
        lines = path.read_text(errors="replace").splitlines()
        found += [f"{shown(path)}:{k}: {line}" for k, line in enumerate(lines, 1) if FOREIGN.search(line)]
    assert not found


@pytest.mark.parametrize("text", ["/work/main/x", "see /work", "../shared/notes", "https://pypi.org/simple"])
def test_foreign_names_are_found(text: str) -> None:
    assert FOREIGN.search(text)
