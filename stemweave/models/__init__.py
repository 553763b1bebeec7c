"""Networks: autoencoder and denoisers."""
