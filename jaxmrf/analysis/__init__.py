"""Analyses of matches, labels and layers, beside painting; pure."""
