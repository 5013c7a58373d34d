"""Patches of feature maps and the nearest-neighbour search among them."""
