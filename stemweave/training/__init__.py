"""Training of autoencoder, vocoder and denoiser."""
