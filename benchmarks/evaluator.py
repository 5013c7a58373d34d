"""The judge of energies: onnxruntime and NumPy, neither side's own code."""

from collections.abc import Sequence

import numpy as np

from benchmarks import engine
from jaxmrf.core.config import Config
from jaxmrf.core.features import Network
from jaxmrf.core.matching import patches
from jaxmrf.core.settings import TermWeights


class Evaluator:
    """Evaluates the default energy of pictures at one pyramid level, matching exactly."""

    def __init__(
        self,
        network: Network,
        content: np.ndarray,
        styles: Sequence[np.ndarray],
        weights: TermWeights,
        config: Config,
    ) -> None:
        self.config, self.weights, self.features = config, weights, network.features
        self.session = engine.session(
            {name: layer["kernel"].transpose(3, 2, 0, 1) for name, layer in network.params.items()},
            {name: layer["bias"] for name, layer in network.params.items()},
        )
        self.target = self._features(content)[config.content_layer]
        self.style = {}
        maps = [self._features(style) for style in styles]
        for name in config.layers:
            found = [_patches(m[name], config.patch_size, config.style_stride) for m in maps]
            squares = np.concatenate([np.square(m[name]).sum(-1).ravel() for m in maps])
            self.style[name] = np.concatenate(found), squares.mean()

    def __call__(self, image: np.ndarray) -> float:
        """Returns the energy of a picture [H, W, 3]."""
        layers = self._features(image)
        content = np.square(layers[self.config.content_layer] - self.target).sum()
        total = self.weights.content * content / np.square(self.target).sum()
        for name in self.config.layers:
            total += self.weights.style["mrf"] * self._mrf(layers[name], *self.style[name])
        variation = sum(np.square(np.diff(image, axis=axis)).sum() for axis in (0, 1))
        return float(total + self.weights.tv * variation / image[..., 0].size)

    def _mrf(self, features: np.ndarray, style: np.ndarray, mean_square: float) -> float:
        size, stride = self.config.patch_size, self.config.stride
        found = _patches(features, size, stride)
        unit = style / np.maximum(np.linalg.norm(style, axis=1, keepdims=True), 1e-12)
        best = np.concatenate([np.argmax(part @ unit.T, axis=1) for part in _parts(found)])
        counts = patches.overlap_counts(*features.shape[:2], size, stride)
        weight = _patches(1 / np.maximum(counts, 1)[..., None], size, stride)
        channels = features.shape[-1]
        squares = np.square(found - style[best]).reshape(len(found), -1, channels).sum(-1)
        return (squares * weight).sum() / (mean_square * features[..., 0].size)

    def _features(self, image: np.ndarray) -> dict[str, np.ndarray]:
        normalized = (np.asarray(image) - self.features.mean) / self.features.std
        return engine.evaluate(self.session, normalized.transpose(2, 0, 1))


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows, max(1, len(rows) // 1000))


def _patches(features: np.ndarray, size: int, stride: int) -> np.ndarray:
    """Returns all patches of a feature map, flattened to k·k·C."""
    rows, columns = (patches.positions(n, size, stride) for n in features.shape[:2])
    views = np.lib.stride_tricks.sliding_window_view(features, (size, size), axis=(0, 1))
    return views[rows][:, columns].transpose(0, 1, 3, 4, 2).reshape(len(rows) * len(columns), -1)
