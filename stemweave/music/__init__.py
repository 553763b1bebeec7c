"""What is played: lead sheets, scores of notes, and both in MIDI files. No audio, no networks.

A *beat* is the felt pulse (``metre``). Scores count in beats of their sheet, sheets say when beats
are in seconds.
"""
