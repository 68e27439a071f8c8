"""How nano VoxCPM is made: text, a teacher's speech, audio VAE, language models, checkpoint, measurement.

Nothing imports this package, and no wheel holds it. `README.md` beside it gives the commands in order.
"""
