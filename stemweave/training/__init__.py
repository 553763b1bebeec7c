"""Training of autoencoder, denoiser, mask refiner and vocoder."""
