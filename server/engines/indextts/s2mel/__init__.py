"""Semantic codes to mel frames: codec, length regulator, flow matching."""
