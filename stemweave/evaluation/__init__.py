"""Scores: separation, Frechet distances, coherence, reports."""
