"""What can be wrong with what a user gave or has: one class for each kind, one line each time."""


class ConfigError(ValueError):
    """A setting that cannot be used; the message says which and what is allowed."""


class ImageError(ValueError):
    """A picture that cannot be read or written; the message says why."""


class DeviceError(RuntimeError):
    """A device that is not there; the message lists those that are."""


class WeightsError(RuntimeError):
    """Weights that are missing or damaged; the message says what to do."""


class FetchError(RuntimeError):
    """A download that did not succeed; the message says why and what to do."""


class ConversionError(ValueError):
    """A weight file that cannot be used; the message says what is wrong with it."""
