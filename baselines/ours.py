"""Our own model trained from nothing in the baselines' CPU time: the row of equal cost.

Its stages are those of ``stemweave train``, each a command of its own with the settings of one
file. The vocoder stays untrained: masks do not use it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from stemweave.errors import InputError
from stemweave.training.networks import make_vocoder
from stemweave.training.settings import load_settings

STAGES = {  # in their order: the exports each is trained behind
    "vae": (),
    "denoiser": ("vae",),
    "refiner": (),
    "sharpener": ("refiner",),
}
COST_FILE = "cpu_hours.json"
MODEL_FOLDER = "model"


def train_ours(config: Path, run: Path) -> float:
    """Train all stages in ``run``, put them together in ``run/model``; CPU-hours of all.

    Started again, it goes on where it was; CPU time of both counts.

    Raises:
        InputError: if a stage fails; it has said why.
    """
    exports = {stage: run / stage / "export" for stage in STAGES}
    for stage, needed in STAGES.items():
        parts = [word for part in needed for word in (f"--{part}", str(exports[part]))]
        spent = _run("train", stage, str(config), *parts, "--run", str(run / stage))
        cost = run / stage / COST_FILE
        before = json.loads(cost.read_text()) if cost.exists() else 0.0
        cost.write_text(json.dumps(before + spent / 3600))
    cpu_hours = sum(float((run / stage / COST_FILE).read_text()) for stage in STAGES)
    exports["vocoder"] = run / "vocoder"
    vocoder: Any = make_vocoder(load_settings(config))
    vocoder.save_pretrained(exports["vocoder"])
    parts = [word for part, folder in exports.items() for word in (f"--{part}", str(folder))]
    _run("assemble", str(config), str(run / MODEL_FOLDER), *parts, "--overwrite")
    (run / COST_FILE).write_text(json.dumps(cpu_hours))
    return cpu_hours


def _run(*arguments: str) -> float:
    """CPU seconds of ``stemweave ARGUMENTS``; raises ``InputError`` if it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "stemweave", *arguments])
    if done.returncode != 0:
        raise InputError(f"stemweave {' '.join(arguments[:2])} failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def load_ours(run: Path) -> tuple[Any, float]:
    """The model of a run of ``train_ours``, and the CPU-hours that went into it.

    Raises:
        InputError: if the run is not finished.
    """
    from stemweave.model import load_model

    if not (run / COST_FILE).exists():
        raise InputError(f"{run} is not finished: python -m baselines train ours goes on with it")
    return load_model(str(run / MODEL_FOLDER)), float((run / COST_FILE).read_text())
