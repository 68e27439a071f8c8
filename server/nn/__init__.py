"""Layers and functions shared by the engines' networks."""
