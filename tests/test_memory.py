"""What is freed is kept, in processes of commands only."""

import os
import subprocess
import sys

import pytest

FREED_MB = 64
SCRIPT = f"""
import os, sys
from stemweave.memory import keep_freed_memory
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
