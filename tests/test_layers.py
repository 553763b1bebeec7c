"""Imports point one way: from what users call down to what everything stands on."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "stemweave"
LAYERS = [
    {"stems", "files", "model_folder", "jobs"},
    {"audio", "models"},
    {"diffusion", "data"},
    {"tasks", "render", "components"},
    {"pipeline"},
    {"training"},
    {"batch", "plots", "checkpoints", "evaluation", "options"},
    {"piece_commands", "web"},
    {"cli", "demo"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def top_level_imports(path: Path) -> set[str]:
    """First part below ``stemweave`` of what a module imports, type-checking blocks apart."""
    found = set()
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
            if node.module == "stemweave":
                names = [f"stemweave.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("stemweave.")}
    return found


def test_imports_point_down():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        owner = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if owner == "__init__":
            continue
        assert owner in LEVEL, f"give {owner} a layer"
        for imported in top_level_imports(path) - {owner}:
            if LEVEL[imported] > LEVEL[owner]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {imported}")
    assert wrong == []


def test_commands_start_without_loading_torch():
    import subprocess
    import sys

    code = "import sys, stemweave.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
