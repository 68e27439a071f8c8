"""Which engine speaks a unit, and how long each is expected to take."""
