"""Where time and memory go, how they grow, and what they are beside other systems'.

``python -m benchmarks`` runs all and writes ``benchmarks/results.md``; ``python -m
benchmarks.stages`` prints one. Every module named in ``results.NAMES`` has ``run() -> dict`` (plain
numbers, lists and texts), ``as_markdown(dict) -> str`` and ``main``.
"""
