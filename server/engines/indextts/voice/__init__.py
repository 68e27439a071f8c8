"""Recordings to what the models are conditioned on: speaker, emotion, style."""
