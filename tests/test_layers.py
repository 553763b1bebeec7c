"""Imports point one way: from what users call down to what everything stands on."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "stemweave"
LAYERS = [
    {"errors", "stems"},
    {"audio", "io", "music"},
    {"models"},
    {"diffusion", "data"},
    {"tasks", "render"},
    {"separates"},
    {"model"},
    {"checkpoints", "pipeline"},
    {"training"},
    {"evaluation"},
    {"io.plots", "io.separation_record"},
    {"io.batch"},
    {"web", "cli", "io.catalogue", "io.separation_runs"},
    {"__main__"},
]
"""Folders, and files that stand above the rest of theirs."""
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
OPEN = {"checkpoints.compress imports training.networks"}


WEB_LAYERS = [
    {"wording", "fitting"},
    {"errors", "settings", "tables", "pace", "feed", "job_requests", "desk"},
    {"attempts"},
    {"answers", "guards", "library", "store", "uploads"},
    {"ingest", "runner", "mixdown"},
    {"worker"},
    {"studio"},
    {"project_routes", "job_routes", "version_routes", "event_routes"},
    {"app"},
    {"server"},
    {"commands"},
]
WEB_LEVEL = {name: level for level, names in enumerate(WEB_LAYERS) for name in names}
MODEL_MODULES = {"torch", "diffusers", "transformers", "stemweave.pipeline", "stemweave.io.batch"}


def imports(path: Path) -> set[str]:
    """Modules that a module imports, type-checking blocks apart."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    hidden = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module in ("stemweave", "stemweave.web"):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= set(names)
    return found


def top_level_imports(path: Path, package: str = "stemweave") -> set[str]:
    """First part below ``package`` of what a module imports."""
    prefix = f"{package}."
    below = {name.removeprefix(prefix) for name in imports(path) if name.startswith(prefix)}
    return {name.split(".")[0] for name in below}


def level(name: str) -> int:
    """Of a module below ``stemweave``."""
    folder, _, file = name.partition(".")
    return LEVEL[f"{folder}.{file}"] if f"{folder}.{file}" in LEVEL else LEVEL[folder]


def test_imports_point_down():
    wrong = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if name.endswith("__init__"):
            continue
        for imported in imports(path):
            below = imported.removeprefix("stemweave.")
            if below == imported or below.split(".")[0] == name.split(".")[0] == "io":
                continue
            if level(below) > level(name):
                wrong.add(f"{name} imports {below}")
    assert wrong == OPEN


def test_web_imports_point_down_and_handlers_hold_no_model():
    for path in sorted((PACKAGE / "web").glob("*.py")):
        if path.stem == "__init__":
            continue
        assert path.stem in WEB_LEVEL, f"give {path.stem} a layer"
        for imported in top_level_imports(path, "stemweave.web") - {path.stem}:
            assert WEB_LEVEL[imported] < WEB_LEVEL[path.stem], f"{path.stem} imports {imported}"
        tasks = {name for name in imports(path) if name.startswith("stemweave.tasks")}
        model = imports(path) & MODEL_MODULES | tasks
        assert not model or path.stem in ("runner", "server"), f"{path.stem} imports {model}"


def test_commands_start_without_loading_torch():
    import subprocess
    import sys

    code = "import sys, stemweave.cli.main; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
