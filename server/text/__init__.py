"""From the text of an utterance to what engines speak: segmentation into units, and text normalization."""
