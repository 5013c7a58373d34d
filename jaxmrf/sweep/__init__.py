"""Sweeps: the same pictures with a grid of options, on one sheet."""
