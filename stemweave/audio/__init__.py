"""Waveforms and log-mel spectrograms: analysis, masks, vocoders, windows."""
