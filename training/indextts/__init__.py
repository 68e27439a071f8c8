"""Training recipe of nano IndexTTS, the packaged voice that speaks with emotion; see README.md in this folder."""
