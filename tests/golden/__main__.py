"""``python -m tests.golden``: store what the bundled model makes now."""

from tests.golden.cases import STORED, renew

renew()
print(f"{STORED} written")
