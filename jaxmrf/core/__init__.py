"""The energy of a picture and its descent: pure functions of arrays."""
