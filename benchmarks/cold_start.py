"""One command from the start of its process, lap by lap: what ``stages`` runs as a child.

python -m benchmarks.cold_start TASK STARTED FILE OUT, where TASK is separate or generate and
STARTED the time.time() at which the parent began. Prints JSON: laps in seconds.
"""

from __future__ import annotations

import atexit
import gc
import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the task and print the laps."""
    task, started, source, out = sys.argv[1:]
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
    atexit.register(gc.freeze)
    gc.disable()
    import torch

    assert torch.__version__
    lap("import torch")
    from stemweave.model import load_model

    gc.enable()
    lap("import the model's classes")
    pipe = load_model()
    lap("read the model")
    from stemweave.io.batch import separate_file
    from stemweave.io.mixtures import Separation

    generator = torch.Generator().manual_seed(0)
    if task == "separate":
        separate_file(pipe, Path(source), Path(out), Separation(pipe.separated_stems))
    else:
        piece = pipe.generate(10.24, generator=generator)
        piece.save(out)
    lap(f"{task} 10.24 s, the first time")
    print(json.dumps(laps))


if __name__ == "__main__":
    main()
