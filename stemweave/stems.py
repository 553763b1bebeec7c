"""The four stems of the default model and their order.

Every tensor with a stem axis ``S`` uses the order of the model it came from
(``denoiser.config.stems``); this is the order of the paper and of the bundled model.
"""

STEMS: tuple[str, ...] = ("bass", "drums", "guitar", "piano")
"""Stem names in the paper's order (Section 3)."""

MIXTURE = "mixture"
"""Name of the sum of all stems in files and results."""
