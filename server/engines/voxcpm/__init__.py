"""VoxCPM 0.5B, 1.5 and 2: a language model over 160 ms patches, local diffusion, a causal audio VAE."""
