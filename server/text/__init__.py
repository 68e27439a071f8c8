"""Text as it is written to units to speak: where it is cut and how it is read."""
