"""A model folder in memory, fast: without what diffusers imports for its other pipelines.

``StemweavePipeline.from_pretrained`` does the same for every model, and takes seconds longer to
import than the bundled model takes to separate a song.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from stemweave.checkpoints.model_folder import (
    BUNDLED_MODEL,
    INDEX,
    check_source,
    has_own_parts_only,
)
from stemweave.models.memory import keep_freed_memory

if TYPE_CHECKING:
    from stemweave.model import StemModel

NOT_NEEDED = ("accelerate", "peft", "scipy", "torch._dynamo", "transformers")
"""Optional packages that diffusers imports with its base classes, whose parts we do not use."""


def load_model(model: str | None = None, device: str = "cpu") -> StemModel:
    """The model in a folder or on the hub (None: the bundled one), on ``device``.

    For commands, which load one model in the life of their process: afterwards diffusers takes
    the packages of ``NOT_NEEDED`` for absent, and freed memory stays with the process. A folder
    with parts of other packages, e.g. the paper's vocoder, and a hub id are loaded as a
    ``StemweavePipeline``.

    Raises:
        InputError: if there is no such model or the device cannot be used here.
    """
    keep_freed_memory()
    folder = BUNDLED_MODEL if model is None else Path(model)
    if not has_own_parts_only(folder):
        check_source(model or folder, INDEX)  # before what takes seconds to import
        from stemweave.pipeline import load_pipeline

        pipeline = load_pipeline(model, device)
        pipeline.source = model
        return pipeline
    try:
        with uncollected(), hidden(*NOT_NEEDED):
            from stemweave.checkpoints.loaded_model import LoadedModel
    except (ImportError, RuntimeError):  # another diffusers may need what this one does not
        from stemweave.checkpoints.loaded_model import LoadedModel
    loaded = LoadedModel.load(folder, device)
    loaded.source = folder
    return loaded


@contextmanager
def hidden(*packages: str) -> Iterator[None]:
    """In the block, importing ``packages`` fails as if they were not installed.

    None in ``sys.modules`` is Python's way to say so. Those that are imported already stay.
    """
    absent = [name for name in packages if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in absent:
            if sys.modules.get(name, name) is None:
                del sys.modules[name]


@contextmanager
def uncollected() -> Iterator[None]:
    """In the block no garbage is collected.

    Imports of torch make hundreds of thousands of objects, which would be looked through again and
    again and live as long as the process.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
