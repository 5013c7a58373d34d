"""The terms of the energy, and what they compare a picture with."""
