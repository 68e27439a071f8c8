"""Client of an intone server; needs no torch."""
