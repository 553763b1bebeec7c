"""MIDI to song folders, and the composer of training music."""
