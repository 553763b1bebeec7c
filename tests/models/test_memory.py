"""What is freed is kept, in processes of commands only."""

import os
import subprocess
import sys

import pytest

FREED_MB = 64
SCRIPT = f"""
import os, sys
from stemweave.models.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
block = bytearray(b"1") * ({FREED_MB} * 2**20)
del block
pages = int(open("/proc/self/statm").read().split()[1])
print(pages * os.sysconf("SC_PAGE_SIZE") // 2**20, os.environ.get("THP_MEM_ALLOC_ENABLE"))
"""


def resident_mb(way: str, **environment: str) -> tuple[int, str]:
    """MB that a process has after it freed ``FREED_MB``; what it says of large pages."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, way],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    resident, pages = done.stdout.split()
    return int(resident), pages


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_memory_is_kept_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch):
    for name in ("THP_MEM_ALLOC_ENABLE", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)
    given_back, pages = resident_mb("give back")
    assert pages == "None"
    kept, pages = resident_mb("keep")
    assert pages == "1"
    assert kept > given_back + 0.9 * FREED_MB
    _, pages = resident_mb("keep", THP_MEM_ALLOC_ENABLE="0")
    assert pages == "0"
    as_told, _ = resident_mb("keep", MALLOC_MMAP_THRESHOLD_="100000", MALLOC_TRIM_THRESHOLD_="0")
    assert as_told < given_back + 0.1 * FREED_MB


FRAGMENTS = f"""
import os
from stemweave.models.memory import keep_freed_memory, release_freed_memory
def resident_mb():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20
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


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_memory_between_what_is_in_use_can_be_given_back():
    environment = {name: value for name, value in os.environ.items() if "MALLOC_" not in name}
    done = subprocess.run(
        [sys.executable, "-c", FRAGMENTS], capture_output=True, text=True, check=True,
        env=environment,
    )  # fmt: skip
    before, kept, released = map(int, done.stdout.split())
    assert kept > before + 0.9 * FREED_MB
    assert released < before + 0.2 * FREED_MB
