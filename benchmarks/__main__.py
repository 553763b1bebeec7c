"""``python -m benchmarks [NAME ...] [--full]``: run all or some, write ``benchmarks/results.md``.

Each runs in a process of its own, so that none finds another's memory or imports.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from benchmarks.machine import describe
from benchmarks.results import NAMES, run_one, save, update_document, write_page


def main() -> None:
    """Run what was named, or all; one that fails is named at the end and does not stop others."""
    parser = argparse.ArgumentParser(description="Measure, print, and write benchmarks/results.md.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--full", action="store_true", help="growth: hours of audio")
    options = parser.parse_args()
    for name in options.names:
        if name not in NAMES:
            parser.error(f"no benchmark named {name}: there are {', '.join(NAMES)}")
    failures = []
    for name in options.names or NAMES:
        machine = describe()
        began = time.perf_counter()
        spawn = multiprocessing.get_context("spawn")
        wanted = {"full": True} if options.full and name == "growth" else {}
        with ProcessPoolExecutor(1, spawn) as pool:
            try:
                result = pool.submit(run_one, name, wanted).result()
            except Exception as error:
                failures.append(f"{name}: {error}")
                continue
        save(name, result, machine)
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    update_document()
    print(write_page())
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
