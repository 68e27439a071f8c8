"""Mel frames to sound: BigVGAN, streamed."""
