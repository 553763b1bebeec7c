"""A hub without a network."""

import shutil
from pathlib import Path
from typing import Any


class LocalHub:
    """A hub in a folder: what is uploaded lies there as huggingface_hub's cache has it."""

    endpoint, folder = "local", Path()

    def __init__(self, token: str | None = None) -> None:
        self.names: list[str] = []

    def create_repo(self, name: str, **options: Any) -> None:
        self.names.append(name)

    def upload_folder(self, repo_id: str, folder_path: str) -> None:
        assert repo_id in self.names
        repository = self.folder / f"models--{repo_id.replace('/', '--')}"
        shutil.copytree(folder_path, repository / "snapshots" / ("a" * 40))
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("a" * 40)
