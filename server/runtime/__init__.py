"""Loading engines, and running each on a thread of its own."""
