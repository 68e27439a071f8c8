"""Training pipeline of the nano VoxCPM voice: corpus, teacher speech, latents, audio VAE, language models, evaluation.

Development only: not part of the wheel, and not imported by server or client. `README.md` lists the commands in order.
"""
