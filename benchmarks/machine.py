"""The machine on which something was measured, in the words that results need."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stemweave.evaluation.speed import cpu_name

PACKAGES = ("torch", "diffusers", "onnxruntime", "soxr", "soundfile")


def describe() -> dict[str, Any]:
    """Processor, cores, memory (GB), operating system, versions, date and load.

    The load is the number of processes that wanted a core in the last minute, before we began.
    """
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": cpu_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gb": round(memory / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "hypervisor": is_virtual(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "measured": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "load": round(os.getloadavg()[0], 1),
    }


def is_virtual() -> bool:
    """Whether Linux says that it runs in a virtual machine."""
    try:
        return " hypervisor" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def as_sentence(machine: dict[str, Any]) -> str:
    """One line for people."""
    kind = "virtual machine" if machine["hypervisor"] else "machine"
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"{machine['measured']}, {kind} with {machine['cores']} cores of {machine['processor']} "
        f"({machine['instructions']}), {machine['memory_gb']} GB, {machine['system']}, Python "
        f"{machine['python']}, {packages}; load when it began: {machine['load']}"
    )
