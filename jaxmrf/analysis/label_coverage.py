"""Which labels of a picture find no patch in the styles, level by level.

A label is that of the center of a patch; at coarse levels a thin one may be at no center. Such
patches match as if they had no label, which whoever painted the guides wants to know.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxmrf.core.config import Config
from jaxmrf.core.features import Features
from jaxmrf.core.losses.exemplars import Guides, labels_at
from jaxmrf.core.matching import patches
from jaxmrf.core.pyramid import at_size
from jaxmrf.core.run.plan import Plan


def unmatched(
    guides: Guides, plan: Plan, params: PyTree, *, features: Features, config: Config
) -> dict[int, int]:
    """Returns the finest level at which a label of the picture is in no style patch, by label.

    Turned and scaled copies of the styles are not looked at.

    Args:
      guides: of any size.
      plan: from `transfer.make_plan`.
      params: parameters of the network.
      features: the network.
      config: settings.
    """
    found = {}
    for level, shape in enumerate(plan.shapes):
        centers = functools.partial(
            _centers, params=params, features=features, patch_size=config.patch_size
        )
        wanted = centers(guides.picture, shape, stride=config.stride)
        offered = [
            centers(*each, stride=config.style_stride)
            for each in zip(guides.styles, plan.style_shapes[level], strict=True)
        ]
        for name in config.layers:
            missing = wanted[name].difference(*(labels[name] for labels in offered))
            found |= dict.fromkeys(missing, level)
    return found


def _centers(
    labels: np.ndarray,
    shape: tuple[int, int],
    stride: int,
    *,
    params: PyTree,
    features: Features,
    patch_size: int,
) -> dict[str, set[int]]:
    """Returns the labels at the centers of the patches of each layer."""
    sized = at_size(jnp.asarray(labels), shape)
    layers = jax.eval_shape(features, params, jax.ShapeDtypeStruct((*shape, 3), np.float32))
    found = {}
    for name, layer in layers.items():
        size = layer.shape[:2]
        if min(size) >= patch_size:
            rows, columns = (
                patches.positions(side, patch_size, stride) + (patch_size - 1) // 2 for side in size
            )
            found[name] = set(np.unique(labels_at(sized, size)[rows][:, columns]).tolist())
    return found
