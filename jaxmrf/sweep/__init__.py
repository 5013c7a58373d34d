"""The same pictures with a grid of settings, on one sheet."""
