"""The device, its program cache and its memory."""
