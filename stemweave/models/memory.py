"""Freed memory that is used again instead of given back.

Networks on a CPU free blocks of many megabytes and ask for as many at once. By default the C
library gives each back to the system, and a tenth of the time goes to page tables and zeros.
"""

from __future__ import annotations

import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of ``mallopt`` (glibc's malloc.h)."""
LARGEST = 2**30
"""Bytes: so much may be free at the end of the heap, and smaller blocks are all of the heap's."""
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""PyTorch asks for pages of 2 MB where this is set before it allocates anything."""


_keeps = False


def keep_freed_memory() -> None:
    """Let this process keep what it frees, and PyTorch ask for large pages; on Linux with glibc.

    For processes that are ours: their memory stays at its peak. What a user's environment says of
    either is left alone.
    """
    global _keeps
    if sys.platform != "linux":
        return
    os.environ.setdefault(HUGE_PAGES, "1")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return
    for name, parameter in (("TRIM", TRIM_THRESHOLD), ("MMAP", MMAP_THRESHOLD)):
        if f"MALLOC_{name}_THRESHOLD_" not in os.environ:
            mallopt(parameter, LARGEST)
            _keeps = True


def release_freed_memory() -> None:
    """Give back what ``keep_freed_memory`` keeps; nothing if it keeps none.

    What is freed lies in pieces between others that are in use, and over hours more of them are too
    small for what is asked for. Once in many windows is often enough.
    """
    if _keeps:
        ctypes.CDLL(None).malloc_trim(0)
