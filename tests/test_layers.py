"""Imports point one way: from what users call down to what everything stands on."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
LAYERS = [
    {"errors", "stems"},
    {"audio"},
    {"io"},
    {"music"},
    {"models"},
    {"diffusion"},
    {"data"},
    {"tasks"},
    {"render"},
    {"checkpoints"},
    {"model"},
    {"checkpoints.importer", "tasks.compose"},
    {"training"},
    {"evaluation"},
    {"io.plots", "io.separation_record"},
    {"io.batch"},
    {"web"},
    {"cli.console", "cli.options"},
    {"io.catalogue"},
    {"cli"},
    {"__main__", "__init__"},
]
"""Folders, and files that stand above the rest of theirs."""
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODEL_MODULES = {"diffusers", "transformers", "stemweave.model", "stemweave.io.batch"}


@cache
def files() -> dict[str, Path]:
    """Every file of the package by its module's name below ``stemweave``."""
    paths = (ROOT / "stemweave").rglob("*.py")
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    return {name.removeprefix("stemweave."): path for name, path in names.items()}


@cache
def imports(name: str) -> frozenset[str]:
    """Modules that a file imports, wherever in it, for types alone, too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(files()[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {one for one in inner if one.removeprefix("stemweave.") in files()}
            found |= modules or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(found)


def own_imports(name: str) -> set[str]:
    """Those of ``imports`` that are ours, below ``stemweave``."""
    own = {one.removeprefix("stemweave.") for one in imports(name) if one.startswith("stemweave.")}
    return {one if one in files() else f"{one}.__init__" for one in own}


def level(name: str) -> int:
    """Of a file."""
    return LEVEL[name] if name in LEVEL else LEVEL[name.partition(".")[0]]


def test_imports_point_down():
    wrong = [
        f"{name} imports {imported}"
        for name in files()
        for imported in own_imports(name)
        if level(imported) > level(name)
        or (level(imported) == level(name) and imported.split(".")[0] != name.split(".")[0])
    ]
    assert wrong == []


def test_files_import_in_no_circle():
    try:
        TopologicalSorter({name: own_imports(name) for name in files()}).prepare()
    except CycleError as error:
        raise AssertionError(" ← ".join(error.args[1])) from error


def test_web_handlers_hold_no_model():
    for name in files():
        if name.startswith("web.") and name not in ("web.runner", "web.server"):
            tasks = {one for one in imports(name) if one.startswith("stemweave.tasks")}
            model = imports(name) & MODEL_MODULES | tasks
            assert not model, f"{name} imports {model}"


def test_commands_start_without_loading_torch():
    code = "import sys, stemweave.cli.main; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
