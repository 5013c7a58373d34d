"""Readers of published VGG weight files, one module per format.

Each has ``recognizes(path)``, which looks at the content and not at the name, and
``read(path)``, which returns the convolutions or raises `ConversionError`.
"""
