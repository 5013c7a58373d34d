"""Measures of a painted picture that use no network: contrast, grain, style, structure.

They help to look; the picture decides. Pictures are sRGB in 0 to 1, [h, w, 3], or Lab where
it is said.
"""

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2lab

WINDOW = 64
"""Sides in pixels of the windows that grain is measured in."""

FINE = (0.3, 0.5)
"""Frequencies of grain, in cycles a pixel."""

DIRECTIONS, PATCHES, PATCH = 128, 20_000, 7
"""Of the sliced Wasserstein distance: directions, patches, and their side in pixels."""

SCALES = (1, 2, 4)
"""Every so many-th row and column is taken for it."""

LOCAL = 9
"""Sides of the windows that structure is compared in."""

STRUCTURE_SIDES = (192, 96)
"""Longest sides of the pictures that structure is compared at."""

EDGE_WIDTH = 1.0
"""Standard deviation in pixels of the Gaussian whose derivative finds the edges."""


def measure(content: np.ndarray, painting: np.ndarray, result: np.ndarray) -> dict[str, float]:
    """Returns the measures of a result.

    Args:
      content: the photograph, of any size.
      painting: of any size; it is compared at the longest side of the result.
      result: the painted picture.

    Returns:
      ``contrast``: standard deviation of lightness over the painting's; ``grain``: log2 of the
      finest power over the painting's; ``style``: distance to the painting over that of the
      photograph with the painting's colors; ``structure``: likeness to the photograph, at most 1.
    """
    longest = max(result.shape[:2])
    painting, content = (rgb2lab(resized(each, longest)) for each in (painting, content))
    found = rgb2lab(result)
    light, painted = found[..., 0], painting[..., 0]
    distance = style_distance(found, painting)
    return {
        "contrast": float(light.std() / painted.std()),
        "grain": float(np.log2(fine_power(light) / fine_power(painted))),
        "style": distance / style_distance(with_colors_of(content, painting), painting),
        "structure": float(np.mean([structure(content, found, side) for side in STRUCTURE_SIDES])),
    }


def resized(picture: np.ndarray, longest: int) -> np.ndarray:
    """Returns an sRGB picture with the given longest side."""
    height, width = picture.shape[:2]
    ratio = longest / max(height, width)
    shape = max(1, round(height * ratio)), max(1, round(width * ratio))
    return np.clip(_at(picture, shape), 0, 1)


def _at(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Returns a picture of any channels resampled, bicubic with anti-aliasing."""
    channels = (Image.fromarray(channel) for channel in np.moveaxis(np.float32(picture), -1, 0))
    sized = (channel.resize(shape[::-1], Image.Resampling.BICUBIC) for channel in channels)
    return np.stack([np.asarray(channel) for channel in sized], -1)


def with_colors_of(content: np.ndarray, painting: np.ndarray) -> np.ndarray:
    """Returns the photograph with the means and deviations of the painting's channels, Lab."""
    axes = (0, 1)
    scale = painting.std(axes) / np.maximum(content.std(axes), 1e-6)
    return (content - content.mean(axes)) * scale + painting.mean(axes)


def fine_power(light: np.ndarray) -> float:
    """Returns the mean power of the finest frequencies over windows that overlap by half."""
    side = min(WINDOW, *light.shape)
    hann = np.hanning(side)
    frequency = np.fft.fftfreq(side)
    radius = np.hypot(frequency[:, None], frequency[None])
    fine = (radius >= FINE[0]) & (radius <= FINE[1])
    windows = np.lib.stride_tricks.sliding_window_view(light, (side, side))
    windows = windows[:: max(side // 2, 1), :: max(side // 2, 1)]
    spectra = np.abs(np.fft.fft2(windows * np.outer(hann, hann))) ** 2
    return float(spectra[..., fine].mean()) + 1e-9


def style_distance(picture: np.ndarray, painting: np.ndarray) -> float:
    """Returns the sliced Wasserstein distance of patches, Lab, averaged over scales."""
    random, found = np.random.default_rng(0), []
    for scale in SCALES:
        samples = [_patches(each[::scale, ::scale], random) for each in (picture, painting)]
        directions = random.normal(size=(samples[0].shape[1], DIRECTIONS))
        directions /= np.linalg.norm(directions, axis=0)
        one, other = (np.sort(sample @ directions, axis=0) for sample in samples)
        found.append(np.abs(one - other).mean())
    return float(np.mean(found))


def _patches(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Returns patches from random places, [PATCHES, values]."""
    places = [random.integers(side - PATCH + 1, size=PATCHES) for side in picture.shape[:2]]
    windows = np.lib.stride_tricks.sliding_window_view(picture, (PATCH, PATCH), (0, 1))
    return windows[tuple(places)].reshape(PATCHES, -1)


def structure(content: np.ndarray, result: np.ndarray, longest: int) -> float:
    """Returns the local correlation of gradient magnitudes, Lab, weighed by the photograph's."""
    ratio = longest / max(result.shape[:2])
    shape = tuple(max(1, round(side * ratio)) for side in result.shape[:2])
    one, other = (
        ndimage.gaussian_gradient_magnitude(_at(picture, shape)[..., 0], EDGE_WIDTH)
        for picture in (content, result)
    )
    (mean, variance), (other_mean, other_variance) = _moments(one), _moments(other)
    covariance = ndimage.uniform_filter(one * other, LOCAL) - mean * other_mean
    correlation = covariance / np.sqrt(variance * other_variance + 1e-6)
    weight = np.sqrt(variance)
    return float((correlation * weight).sum() / (weight.sum() + 1e-9))


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and variance of the window around each position."""
    mean = ndimage.uniform_filter(values, LOCAL)
    return mean, np.maximum(ndimage.uniform_filter(values**2, LOCAL) - mean**2, 0)
