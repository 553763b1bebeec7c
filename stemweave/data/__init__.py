"""Song folders, manifests, readers and latent caches."""
