"""``python -m stemweave``."""

from stemweave.cli import main

main()
