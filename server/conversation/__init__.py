"""One conversation: utterances, interruption, pacing, and audio on its way out."""
