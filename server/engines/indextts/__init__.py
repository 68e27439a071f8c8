"""IndexTTS 2 and 2.5: a language model over semantic codes, flow matching to a mel spectrogram, BigVGAN."""
