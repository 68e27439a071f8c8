"""Engines at work: loading, one thread per engine, batches."""
