"""Modules that engines share; stateless once built."""
