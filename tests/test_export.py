"""The steps lower for accelerators that are not here."""

import functools

import jax
import numpy as np
import pytest

from jaxmrf.core import energy
from jaxmrf.core.config import Config
from jaxmrf.core.energy import Weights
from jaxmrf.core.matching import matchers
from jaxmrf.core.optimize import optimizers
from jaxmrf.core.run.step import jit_steps
from jaxmrf.networks import vgg


@pytest.mark.parametrize("exact_pairs", [2**27, 0])
def test_a_chunk_of_whole_steps_lowers_for_cuda_and_tpu(exact_pairs, monkeypatch):
    monkeypatch.setattr(matchers, "EXACT_PAIRS", exact_pairs)
    config, network = Config(), vgg.Network("vgg19")
    optimizer = optimizers.make_optimizer(config)
    static = {"features": network, "config": config}
    shape = (176, 168)
    picture = jax.ShapeDtypeStruct((*shape, 3), np.float32)
    params = jax.eval_shape(network.random_params, jax.random.key(0))

    targets = jax.eval_shape(
        functools.partial(energy.prepare, shape=shape, **static),
        params,
        picture,
        [picture],
        Weights(1.0, {"mrf": 1.0}, 1.0),
    )
    assert (targets.style["mrf"].patches["relu3_1"].index is None) == bool(exact_pairs)
    state = jax.eval_shape(functools.partial(optimizers.init, optimizer=optimizer), picture)
    memory = jax.eval_shape(lambda x: energy.no_memory(x, params, targets, **static), picture)
    exported = jax.export.export(jit_steps, platforms=["cuda", "tpu"])(
        *state, memory, params, targets, count=5, **static
    )
    module = exported.mlir_module()
    assert exported.platforms == ("cuda", "tpu")
    assert "callback" not in module  # nothing asks the host in the middle of a step
    # No product is left at a default that would mean TF32 or bfloat16.
    products = [
        line
        for line in module.splitlines()
        if "stablehlo.dot_general" in line or "stablehlo.convolution" in line
    ]
    assert len(products) > 20
    assert all("HIGHEST" in line for line in products), [p for p in products if "HIGHEST" not in p]
