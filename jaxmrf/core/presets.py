"""Named settings: three of this project's, the paper's, and those of the authors' code.

And one knob over all of them, between the photograph and the painting.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any, get_origin

import jax
import numpy as np

from jaxmrf.core.config import Config
from jaxmrf.errors import ConfigError, nearest

PATCHES_ALONE = {
    "style_border": 0,
    "anchor": 0.0,
    "content_share": 0.0,
    "decoder_rounds": 0,
    "final_color": 0.0,
}
"""What neither paper nor authors' code have."""

PRESETS: dict[str, Config] = {
    "quick": Config(effort="quick"),
    "default": Config(),
    "fine": Config(effort="fine"),
    # Li & Wand 2016, section 4, "Implementation details".
    "paper": Config(
        size=384,
        content_weight=1.0,
        content_level_factor=1.0,
        style_weight=1.0,
        tv_weight=1e-3,
        normalization="sum",
        overlap="sum",
        pixel_scale=256.0,
        stride=1,
        style_stride=1,
        match_every=1,
        rotations=2,
        scales=3,
        coarsest=64,
        iterations=(200,),
        init="noise",
        preconditioner="none",
        color="none",
        **PATCHES_ALONE,
    ),
    # The authors' Torch code, https://github.com/chuanli11/CNNMRF (file and option each).
    "reference": Config(
        size=384,  # cnnmrf.lua, max_size 384
        content_layer="relu4_1",  # cnnmrf.lua, content_layers {21}; run_trans.lua has {23}
        content_weight=20.0,  # cnnmrf.lua, content_weight 2e1
        content_level_factor=1.0,  # the mean of squares does it
        style_weight=1e-4,  # cnnmrf.lua, mrf_weight {1e-4, 1e-4}
        tv_weight=1e-3,  # cnnmrf.lua, tv_weight 1e-3
        normalization="authors",
        overlap="mean",  # mylib/mrf.lua, gradTO:cdiv(gradTO_confident)
        pixel_scale=256.0,  # mylib/helper.lua, preprocess: mul(256.0)
        stride=2,  # cnnmrf.lua, source_sample_stride {2, 2}
        style_stride=2,  # cnnmrf.lua, target_sample_stride {2, 2}
        matching="exact",
        match_every=1,  # mylib/mrf.lua, updateOutput
        rotations=0,  # cnnmrf.lua, target_num_rotation 0; step pi/24 = 7.5 degrees
        scales=0,  # cnnmrf.lua, target_num_scale 0; step 1.05
        levels=3,  # cnnmrf.lua, num_res 3
        iterations=(100,),  # cnnmrf.lua, num_iter {100, 100, 100}
        init="content",  # cnnmrf.lua, ini_method image
        history=25,  # cnnmrf.lua, nCorrection 25
        preconditioner="none",
        taxicab_first_step=True,  # mylib/myoptimizer.lua, min(1,1/tmp1:sum())
        color="none",
        **PATCHES_ALONE,
    ),
}


def preset(name: str) -> Config:
    """Returns the preset called `name`.

    Raises:
      ConfigError: if there is none of that name.
    """
    if name not in PRESETS:
        raise ConfigError(
            f"there is no preset {name!r}; choose from {', '.join(PRESETS)}", "preset"
        )
    return PRESETS[name]


USUAL_ALPHA = 0.5
"""Where the knob leaves a preset as it is."""

SET_BY_ALPHA = ("content_weight", "anchor", "content_share")
"""Settings that the knob turns."""

_FACTOR = 8.0
"""Of the content weight at the photograph's end; at the painting's it is divided by it."""

_SHARES = {"anchor": (1.0, 0.2), "content_share": (1.0, 0.0)}
"""Of the photograph at both ends: the photograph in the painting's colors, and the painting's
patches wherever they fit."""


def between(config: Config, alpha: float, chosen: Collection[str] = ()) -> Config:
    """Returns the settings of a preset, turned to the photograph or to the painting.

    From the preset's own settings at `USUAL_ALPHA` on, the content weight goes by a power, the
    shares of the photograph straight to both ends; these were chosen by looking (docs/gallery.md).

    Args:
      config: of the preset.
      alpha: from 0, the photograph, to 1, the painting.
      chosen: names of settings that are chosen beside it.

    Raises:
      ConfigError: if it is no number from 0 to 1, or one of `SET_BY_ALPHA` is chosen, too.

    Example:
      >>> between(Config(), 0.5) == Config(), between(Config(), 1.0).anchor
      (True, 0.2)
    """
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 <= alpha <= 1:
        raise ConfigError(f"alpha is {alpha!r}; it must be a number from 0 to 1", "alpha")
    for name in SET_BY_ALPHA:
        if name in chosen:
            raise ConfigError(f"alpha sets {name}, too; give one of them", name)
    shares = {}
    for name, (start, end) in _SHARES.items():
        usual = getattr(config, name)
        ends = (start, usual, min(usual, end))
        shares[name] = float(np.interp(alpha, (0.0, USUAL_ALPHA, 1.0), ends))
    weight = config.content_weight * _FACTOR ** (1.0 - alpha / USUAL_ALPHA)
    return dataclasses.replace(config, content_weight=weight, **shares)


_BESIDE = ("preset", "alpha")
"""Options of `configured` that are no fields of `Config`."""


def configured(
    config: Config | None, options: Mapping[str, Any], others: Iterable[str] = ()
) -> Config:
    """Returns settings, some of them chosen by name.

    Args:
      config: what `options` go on top of; None: the preset that they name, or the default one.
      options: values by the names of `Config`, ``preset`` and ``alpha`` (see `between`). Lists
        and single values stand for tuples, numbers of NumPy and JAX for those of Python.
      others: names that a misspelt option may be meant for, too.

    Raises:
      ConfigError: if an option is unknown, or has a value that cannot be used.

    Example:
      >>> configured(None, {"preset": "fine", "iterations": [30, 20]}).iterations
      (30, 20)
    """
    kinds = {field.name: field.type for field in dataclasses.fields(Config)}
    chosen = {name: value for name, value in options.items() if name not in _BESIDE}
    for name in chosen:
        if name not in kinds:
            hint = nearest(name, (*_BESIDE, *kinds, *others))
            raise ConfigError(f"there is no option {name!r}{hint}")
    if config is None:
        config = preset(options.get("preset", "default"))
    elif "preset" in options:
        raise ConfigError("there are a config and a preset; give one of them", "preset")
    if "alpha" in options:
        config = between(config, _plain(options["alpha"]), chosen)
    values = {name: _of_kind(kinds[name], value) for name, value in chosen.items()}
    return dataclasses.replace(config, **values)


def _of_kind(kind: Any, value: Any) -> Any:
    """Returns a value as a field of `Config` has it; one of another kind is refused there."""
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        value = value.tolist()
    if get_origin(kind) is not tuple:
        return value
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else (value,)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic | jax.Array) else value
