"""One command from the start of its process, lap by lap: what ``stages`` runs as a child.

python -m benchmarks.cold_start TASK LOADER STARTED FILE OUT, where TASK is separate or generate,
LOADER is command (as ``stemweave`` loads models) or pipeline (as ``StemweavePipeline`` does), and
STARTED the time.time() at which the parent began. Prints JSON: laps in seconds and memory in MB.
"""

from __future__ import annotations

import atexit
import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the task and print the laps."""
    task, loader, started, source, out = sys.argv[1:]
    laps: dict[str, float] = {}
    last = float(started)

    def lap(name: str) -> None:
        nonlocal last
        laps[name] = time.time() - last
        last = time.time()

    lap("start of Python")
    import stemweave.cli.main

    assert stemweave.cli.main.app
    lap("import the command line")
    pipe = _by_pipeline(lap) if loader == "pipeline" else _by_command(lap)
    lap("read the model")
    import torch

    from stemweave.io.batch import separate_file, write_stems

    generator = torch.Generator().manual_seed(0)
    if task == "separate":
        separate_file(pipe, Path(source), Path(out), stems=pipe.stems)
    else:
        piece = pipe.generate(10.24, generator=generator)
        write_stems(Path(out), piece, pipe.sample_rate, "wav", overwrite=False)
    lap(f"{task} 10.24 s, the first time")
    print(json.dumps(laps))


def _by_pipeline(lap: Callable[[str], None]) -> Any:
    import torch

    assert torch.__version__
    lap("import torch")
    from stemweave.pipeline import load_pipeline

    lap("import the model's classes")
    return load_pipeline()


def _by_command(lap: Callable[[str], None]) -> Any:
    from stemweave.checkpoints.loading import NOT_NEEDED, hidden, load_model, uncollected

    atexit.register(gc.freeze)
    with uncollected(), hidden(*NOT_NEEDED):
        import torch

        assert torch.__version__
        lap("import torch")
        import stemweave.checkpoints.loaded_model

        assert stemweave.checkpoints.loaded_model.PARTS
    lap("import the model's classes")
    return load_model()


if __name__ == "__main__":
    main()
