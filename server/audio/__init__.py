"""Samples in and out: encodings, sample rates, uploaded recordings."""
