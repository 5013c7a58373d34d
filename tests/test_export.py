"""The steps lower for accelerators that are not here."""

import functools

import jax
import numpy as np
import pytest

from jaxmrf.core.config import Config
from jaxmrf.core.features import Network
from jaxmrf.core.matching import matchers
from jaxmrf.core.run import programs
from jaxmrf.core.run.inputs import LevelPictures
from jaxmrf.core.settings import TermWeights, program_of
from jaxmrf.networks import vgg


# With another size, since programs do not know that the constant has changed.
@pytest.mark.parametrize(("exact_pairs", "shape"), [(2**27, (176, 168)), (0, (176, 160))])
def test_a_chunk_of_whole_steps_lowers_for_cuda_and_tpu(exact_pairs, shape, monkeypatch):
    monkeypatch.setattr(matchers, "EXACT_PAIRS", exact_pairs)
    features = vgg.VGGFeatures("vgg19")
    network = Network(features, jax.eval_shape(features.random_params, jax.random.key(0)))
    static = {"program": program_of(Config()), "mesh": None}
    image = jax.ShapeDtypeStruct((*shape, 3), np.float32)
    number = jax.ShapeDtypeStruct((), np.float32)
    weights = TermWeights(number, {"mrf": number}, number, number, number)
    pictures = LevelPictures(image, (image,), weights, None, None, None)

    prepare = functools.partial(programs.prepare, shape=shape, **static)
    targets = jax.eval_shape(prepare, network, pictures)
    assert (targets.style["mrf"].patches["relu3_1"].index is None) == bool(exact_pairs)
    begin = functools.partial(programs.begin, **static)
    state, loss_state = jax.eval_shape(begin, network, image, targets)
    exported = jax.export.export(programs.steps, platforms=["cuda", "tpu"])(
        network, *state, loss_state, targets, count=5, **static
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
