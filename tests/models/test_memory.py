"""What is freed is kept, in processes of commands only."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
FREED_MB = 64
RESIDENT = """
import os, sys
from stemweave.models.memory import keep_freed_memory, release_freed_memory
def resident_mb():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20
"""
SCRIPT = f"""{RESIDENT}
if sys.argv[1] == "keep":
    keep_freed_memory()
block = bytearray(b"1") * ({FREED_MB} * 2**20)
del block
print(resident_mb(), os.environ.get("THP_MEM_ALLOC_ENABLE"))
"""
FRAGMENTS = f"""{RESIDENT}
release_freed_memory()  # keeps nothing yet
keep_freed_memory()
before = resident_mb()
large, small = [], []
for _ in range({FREED_MB}):
    large.append(bytearray(b"1") * 2**20)
    small.append(bytearray(2000))  # between two large ones
large.clear()
kept = resident_mb()
release_freed_memory()
print(before, kept, resident_mb())
"""


def said(script: str, *arguments: str, **environment: str) -> list[str]:
    """Words that a process prints which inherits nothing about memory."""
    inherited = {k: v for k, v in os.environ.items() if "MALLOC_" not in k and "THP_" not in k}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=inherited | environment
    )
    return done.stdout.split()


def test_freed_memory_is_kept_unless_the_user_says_otherwise():
    given_back, pages = said(SCRIPT, "give back")
    assert pages == "None"
    kept, pages = said(SCRIPT, "keep")
    assert pages == "1" and int(kept) > int(given_back) + 0.9 * FREED_MB
    assert said(SCRIPT, "keep", THP_MEM_ALLOC_ENABLE="0")[1] == "0"
    thresholds = {"MALLOC_MMAP_THRESHOLD_": "100000", "MALLOC_TRIM_THRESHOLD_": "0"}
    as_told = int(said(SCRIPT, "keep", **thresholds)[0])
    assert as_told < int(given_back) + 0.1 * FREED_MB


def test_freed_memory_between_what_is_in_use_can_be_given_back():
    before, kept, released = map(int, said(FRAGMENTS))
    assert kept > before + 0.9 * FREED_MB
    assert released < before + 0.2 * FREED_MB
