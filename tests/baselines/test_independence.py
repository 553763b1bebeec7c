"""The shipped package knows nothing of the baselines."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "stemweave"


def test_stemweave_does_not_import_baselines():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not any(name.split(".")[0] == "baselines" for name in names), path
