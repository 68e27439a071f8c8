"""Voices: the store and its files, loudness, fillers, and rendering in the background."""
