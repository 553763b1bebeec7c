"""Systems to compare Stemweave with: Open-Unmix, HTDemucs and MSDM, on the same data and CPU time.

Not part of the ``stemweave`` package, which must not import this. See baselines/README.md.
"""
