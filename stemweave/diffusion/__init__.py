"""Training objective, guidance, constraints and the sampler. Knows nothing of audio."""
