"""Which labels of a picture find no patch in the styles, level by level.

A label is that of the center of a patch; at coarse levels a thin one may be at no center. Such
patches match as if they had no label, which whoever painted the guides wants to know.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxmrf.core.config import Shape
from jaxmrf.core.features import Network
from jaxmrf.core.losses.exemplars import Guides, labels_at
from jaxmrf.core.matching import patches
from jaxmrf.core.pyramid import at_size
from jaxmrf.core.run.plan import Plan
from jaxmrf.core.settings import PatchSettings


def unmatched(
    guides: Guides, plan: Plan, network: Network, patch_settings: PatchSettings
) -> dict[int, int]:
    """Returns the finest level at which a label of the picture is in no style patch, by label.

    Turned and scaled copies of the styles are not looked at.

    Args:
      guides: of any size.
      plan: from `plan.make_plan`.
      network: the network.
      patch_settings: of the matching.
    """
    finest_levels = {}
    centers = functools.partial(_centers, network=network, patch_settings=patch_settings)
    for level, shape in enumerate(plan.shapes):
        of_picture = centers(guides.picture, shape, stride=patch_settings.stride)
        of_styles = [
            centers(*labels_and_shape, stride=patch_settings.style_stride)
            for labels_and_shape in zip(guides.styles, plan.style_shapes[level], strict=True)
        ]
        for name in patch_settings.layers:
            missing = of_picture[name].difference(*(labels[name] for labels in of_styles))
            finest_levels |= dict.fromkeys(missing, level)
    return finest_levels


def _centers(
    labels: Float[Array | np.ndarray, "_ _ labels"],
    shape: Shape,
    stride: int,
    *,
    network: Network,
    patch_settings: PatchSettings,
) -> dict[str, set[int]]:
    """Returns the labels at the centers of the patches of each layer that is matched."""
    sized = np.asarray(at_size(jnp.asarray(labels), shape))
    patch_size, layers = patch_settings.patch_size, network.shapes(shape)
    at_centers = {}
    for name in patch_settings.layers:
        size = layers[name].shape[:2]
        if min(size) >= patch_size:
            rows, columns = (
                patches.positions(side, patch_size, stride) + (patch_size - 1) // 2 for side in size
            )
            of_layer = np.asarray(labels_at(sized, size))
            at_centers[name] = set(np.unique(of_layer[rows][:, columns]).tolist())
    return at_centers
