"""Voices: the store and its file format, loudness, fillers, and background rendering."""
