"""The authors' algorithm in eager PyTorch: what `jaxmrf` is compared with.

A direct transcription: scores by a convolution with the style patches as kernels, the
gradient by autograd through the gathered patches, torch.optim.LBFGS with steps of length
one and 25 corrections. It computes the energy of `jaxmrf.core.energy`;
tests/test_benchmarks.py compares value and gradient.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as nn

from jaxmrf.core import features
from jaxmrf.core.config import Config
from jaxmrf.core.matching import patches
from jaxmrf.core.settings import TermWeights


def to_torch(picture: np.ndarray) -> torch.Tensor:
    """Returns a picture [H, W, C] as [1, C, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1)))[None]


class Network:
    """A VGG network from parameters in this project's layout."""

    def __init__(self, network: features.Network) -> None:
        self.mean = torch.tensor(network.features.mean)[None, :, None, None]
        self.std = torch.tensor(network.features.std)[None, :, None, None]
        self.layers = [
            (
                name,
                torch.from_numpy(np.asarray(layer["kernel"]).transpose(3, 2, 0, 1).copy()),
                torch.from_numpy(np.asarray(layer["bias"]).copy()),
            )
            for name, layer in network.params.items()
        ]

    def __call__(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns activations [1, C, h, w] by layer name of a picture in 0 to 1."""
        x, found = (image - self.mean) / self.std, {}
        for name, kernel, bias in self.layers:
            if name.endswith("_1") and name != "conv1_1":
                x = nn.max_pool2d(x, 2)
            x = nn.relu(nn.conv2d(x, kernel, bias, padding=1))
            found[name.replace("conv", "relu")] = x
        return found


class Energy:
    """The energy of one pyramid level, normalized as in the default preset."""

    def __init__(
        self,
        network: Network,
        content: np.ndarray,
        styles: Sequence[np.ndarray],
        weights: TermWeights,
        config: Config,
    ) -> None:
        self.network, self.config, self.weights = network, config, weights
        size, stride = config.patch_size, config.style_stride
        with torch.no_grad():
            self.target = network(to_torch(content))[config.content_layer]
            maps = [network(to_torch(style)) for style in styles]
            self.style, self.energy_of_style = {}, {}
            for name in config.layers:
                found = [_patches(m[name], size, stride) for m in maps]
                self.style[name] = torch.cat(found)
                squares = torch.cat([m[name].square().sum(1).ravel() for m in maps])
                self.energy_of_style[name] = squares.mean()

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Returns the energy of a picture [1, 3, H, W], differentiable."""
        layers = self.network(image)
        content = (layers[self.config.content_layer] - self.target).square().sum()
        total = self.weights.content * content / self.target.square().sum()
        for name in self.config.layers:
            positions = layers[name].shape[2] * layers[name].shape[3]
            scale = self.energy_of_style[name] * positions
            total = total + self.weights.style["mrf"] * self._mrf(layers[name], name) / scale
        variation = image.diff(dim=2).square().sum() + image.diff(dim=3).square().sum()
        return total + self.weights.tv * variation / (image.shape[2] * image.shape[3])

    def _mrf(self, features: torch.Tensor, name: str) -> torch.Tensor:
        size, stride = self.config.patch_size, self.config.stride
        style = self.style[name]
        rows, columns = (patches.positions(n, size, stride) for n in features.shape[2:])
        with torch.no_grad():
            norms = style.square().sum(dim=(1, 2, 3)).sqrt().clamp_min(1e-12)
            scores = nn.conv2d(features, style / norms[:, None, None, None])[0]
            best = scores[:, rows][:, :, columns].argmax(0).ravel()
        found = _patches(features, size, stride)
        counts = patches.overlap_counts(*features.shape[2:], size, stride)
        weight = _patches(torch.from_numpy(1 / np.maximum(counts, 1))[None, None], size, stride)
        return ((found - style[best]).square() * weight).sum()


def _patches(features: torch.Tensor, size: int, stride: int) -> torch.Tensor:
    """Returns all patches [n, C, k, k] of a feature map, tail patches included."""
    rows, columns = (patches.positions(n, size, stride) for n in features.shape[2:])
    views = features[0].unfold(1, size, 1).unfold(2, size, 1)
    return views[:, rows][:, :, columns].permute(1, 2, 0, 3, 4).flatten(0, 1)


def minimize(energy: Energy, image: np.ndarray, iterations: int) -> np.ndarray:
    """Returns the picture after L-BFGS with one evaluation per iteration."""
    x = to_torch(image).clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [x], lr=1, max_iter=1, history_size=25, tolerance_grad=0, tolerance_change=0
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = energy(x)
        value.backward()
        return value

    for _ in range(iterations):
        optimizer.step(closure)
    return x.detach()[0].numpy().transpose(1, 2, 0)
