"""Trains the decoder of a network: features put together at the matches → picture.

    python weights/train_decoder.py --network vgg16

A step sees crops of free pictures (`decoder_pictures`). Some are decoded from their own
features and compared pixel by pixel; the others from features that were put together from
the patches of another crop, and compared with these features, with the Gram matrices of
the shallow layers of that crop, and with the slow colors. In a last phase what repeats in
the lattice of the network's strides is taken out. A run that was killed goes on from its
last checkpoint, to the same bytes.
"""

import functools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import decoder_pictures
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import typer
from decoder_pictures import Source
from jaxtyping import Array, Float, PyTree
from PIL import Image

from jaxmrf.core import color, decoder, energy, pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.decoder import LAYERS, Decoder
from jaxmrf.core.features import Network
from jaxmrf.core.losses import gram, mrf
from jaxmrf.core.settings import TermWeights, program_of
from jaxmrf.files import atomic
from jaxmrf.networks import architectures, decoder_file, weights

RECONSTRUCTED = 3
"""Crops of eight that are decoded from their own features."""

BATCH = 8

LEARNING_RATE, LAST_LEARNING_RATE = 1e-3, 4e-4
WARM_UP = 100
"""Steps in which the learning rate rises, a fifth of it in the last phase; then it falls like
a cosine to nearly zero."""

LAST_PHASE = 11
"""One of so many steps is in the last phase."""

TEXTURE_LAYERS = ("relu1_1", "relu2_1", "relu3_1")
"""Layers whose Gram matrices bring the fine strokes that a mean of patches has lost."""

PIXELS, SLOW = 4.0, 4.0
"""Weights beside the relative squared errors of features: mean absolute error of pixels, and
of the slow colors."""

CELL, CELLS = 8, 4
"""Pixels that the coarser layer's positions are apart, and how many of these squares in each
direction have a mean in `lattice`."""

ANCHORS, SHARES = (0.4, 1.0), (0.0, 0.5)
"""Ranges that the anchor and the share of the content are drawn from."""

PERMUTED = 0.2
"""Share of the crops whose colors are interchanged."""

PAINTED = 0.15
"""Share of the crops that are from paintings, as far as there are some."""

TRIES = 30
"""Places in a picture that are tried for a crop without transparent parts."""

COLORS_OF_CONTENT = 0.5419
"""Share of the steps in which the slow colors are those of the content crop; then they are put
together at the matches, as the features are, which a decoder learns faster that knows colors."""

CHECKPOINT_EVERY = 50


class Batch(NamedTuple):
    """What a step sees.

    Attributes:
      contents: crops that are decoded, sRGB in 0 to 1.
      styles: crops whose patches all but the first are put together from.
      anchors: share of the content in the matching, see `exemplars.Anchor`.
      shares: share of the content in what is put together.
    """

    contents: Float[np.ndarray, "batch crop crop 3"]
    styles: Float[np.ndarray, "others crop crop 3"]
    anchors: Float[np.ndarray, " others"]
    shares: Float[np.ndarray, " others"]


class Phase(NamedTuple):
    """What changes in the course of the training.

    Attributes:
      colors_of_content: whether slow colors are those of the content, see `COLORS_OF_CONTENT`.
      texture: weight of the relative squared error of Gram matrices.
      lattice: weight of `lattice`: of what a decoder draws into flat parts to make features
        as long as they should be, dots 4 pixels apart.
    """

    colors_of_content: bool
    texture: float
    lattice: float


class State(NamedTuple):
    """Parameters and what the optimizer remembers of them."""

    params: PyTree
    optimizer: PyTree


def phase_of(step: int, steps: int) -> Phase:
    """Returns the phase of a step of so many."""
    if step < steps - steps // LAST_PHASE:
        return Phase(step < COLORS_OF_CONTENT * steps, 0.3, 0.0)
    return Phase(False, 0.2, 6.0)


def make_batch(sources: Sequence[Source], crop: int, seed: int, step: int) -> Batch:
    """Returns the crops of a step; the same ones for the same seed and step."""
    random = np.random.default_rng((seed, step))
    painted = [source for source in sources if (source.pixels[..., 3] == 0).any()]

    def one_crop() -> np.ndarray:
        some = painted if painted and random.random() < PAINTED else sources
        sizes = np.sqrt([source.pixels.size for source in some])
        pixels = some[random.choice(len(some), p=sizes / sizes.sum())].pixels
        parts = (_part(pixels, crop, random) for _ in range(TRIES))
        part = next((part for part in parts if (part[..., 3] > 0).all()), pixels)
        resized = Image.fromarray(part[..., :3]).resize((crop, crop), Image.Resampling.BICUBIC)
        found = np.asarray(resized, np.float32) / 255
        if random.random() < 0.5:
            found = found[:, ::-1]
        return found[..., random.permutation(3)] if random.random() < PERMUTED else found

    others = BATCH - RECONSTRUCTED
    return Batch(
        np.stack([one_crop() for _ in range(BATCH)]),
        np.stack([one_crop() for _ in range(others)]),
        random.uniform(*ANCHORS, others).astype(np.float32),
        random.uniform(*SHARES, others).astype(np.float32),
    )


def _part(pixels: np.ndarray, crop: int, random: np.random.Generator) -> np.ndarray:
    """Returns a square of a picture, `crop` to four times as many pixels on a side."""
    height, width = pixels.shape[:2]
    side = round(np.exp(random.uniform(*np.log([crop, 4 * crop]))))
    side = min(side, height, width)
    top, left = (random.integers(length - side + 1) for length in (height, width))
    return pixels[top : top + side, left : left + side]


def loss(
    params: PyTree,
    batch: Batch,
    network: Network,
    scale: dict[str, Array],
    *,
    phase: Phase,
) -> tuple[Array, dict[str, Array]]:
    """Returns the mean loss of the crops, and its parts by name."""
    trained = Decoder(params, scale)
    own = jax.vmap(lambda content: _of_own_features(trained, content, network))
    other = jax.vmap(lambda *crops: _of_other_patches(trained, *crops, network, phase))
    parts = [own(batch.contents[:RECONSTRUCTED]), other(batch.contents[RECONSTRUCTED:], *batch[1:])]
    total = sum(jnp.sum(part) for found in parts for part in found.values()) / BATCH
    names = dict.fromkeys(name for found in parts for name in found)
    means = {
        name: jnp.mean(jnp.concatenate([found[name] for found in parts if name in found]))
        for name in names
    }
    return total, means


def _of_own_features(trained: Decoder, content: Array, network: Network) -> dict[str, Array]:
    features = network(content)
    slow = pyramid.small(content, features[LAYERS[1]].shape[:2])
    decoded = decoder.decode(trained, features, slow, content.shape[:2])
    layers = network(decoded)
    found = {
        f"own {name}": _relative(layers[name], features[name]) for name in ("relu2_1", *LAYERS)
    }
    return {**found, "pixels": PIXELS * jnp.mean(jnp.abs(decoded - content))}


def _of_other_patches(
    trained: Decoder,
    content: Array,
    style: Array,
    anchor: Array,
    share: Array,
    network: Network,
    phase: Phase,
) -> dict[str, Array]:
    program = program_of(Config(layers=LAYERS, overlap="rms"))
    content = color.match_distribution(content, (style,))
    targets = energy.prepare(
        network,
        content,
        (style,),
        TermWeights(0.0, dict.fromkeys(program.style_loss, 1.0), 0.0, anchor, share),
        shape=content.shape[:2],
        program=program,
    ).style["mrf"]
    found = jax.lax.stop_gradient(mrf.painted(targets.anchor.features, targets, program))
    wanted = {name: found[name].features for name in LAYERS}
    slow = decoder.slow_colors({name: found[name].colors for name in LAYERS})
    slow = jnp.where(phase.colors_of_content, pyramid.small(content, slow.shape[:2]), slow)
    decoded = decoder.decode(trained, wanted, slow, content.shape[:2])
    layers, textures = network(decoded), network(style)
    return {
        **{name: _relative(layers[name], wanted[name]) for name in LAYERS},
        **{
            f"gram {name}": phase.texture
            * _relative(gram.gram_matrix(layers[name]), gram.gram_matrix(textures[name]))
            for name in TEXTURE_LAYERS
        },
        "lattice": phase.lattice * lattice(decoded),
        "slow": SLOW * jnp.mean(jnp.abs(pyramid.small(decoded, slow.shape[:2]) - slow)),
    }


def lattice(picture: Float[Array, "h w 3"]) -> Float[Array, ""]:
    """Returns how much of a picture repeats every `CELL` pixels.

    The mean size of what is left where `CELLS` × `CELLS` neighboring squares of `CELL` pixels
    are averaged, after the slow colors are taken away.

    Args:
      picture: its sides are multiples of `CELL` · `CELLS`.
    """
    rows, columns = (side // CELL for side in picture.shape[:2])
    slow = jax.image.resize(pyramid.small(picture, (rows, columns)), picture.shape, "linear")
    squares = (picture - slow).reshape(rows // CELLS, CELLS, CELL, columns // CELLS, CELLS, CELL, 3)
    return jnp.mean(jnp.abs(squares.mean(axis=(1, 4))))


def _relative(found: Array, wanted: Array) -> Array:
    return jnp.sum(jnp.square(found - wanted)) / (jnp.sum(jnp.square(wanted)) + 1e-6)


def make_optimizer(steps: int) -> optax.GradientTransformation:
    """Returns Adam with a learning rate that rises and falls, and once more in the last phase."""
    last = steps // LAST_PHASE
    rates = [
        optax.warmup_cosine_decay_schedule(0.0, peak, min(warm_up, length // 4), length, end)
        for peak, warm_up, length, end in (
            (LEARNING_RATE, WARM_UP, steps - last, LEARNING_RATE / 100),
            (LAST_LEARNING_RATE, WARM_UP // 5, max(last, 1), LAST_LEARNING_RATE / 30),
        )
    ]
    rate = optax.join_schedules(rates, [steps - last])
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))


@functools.partial(jax.jit, static_argnames="steps", donate_argnames="state")
def train_step(
    state: State,
    batch: Batch,
    network: Network,
    scale: dict[str, Array],
    *,
    steps: int,
    phase: Phase,
) -> tuple[State, Array, dict[str, Array]]:
    """Takes a step; returns the new state, the loss before it, and its parts by name."""
    (value, parts), gradient = jax.value_and_grad(loss, has_aux=True)(
        state.params, batch, network, scale, phase=phase
    )
    updates, optimizer = make_optimizer(steps).update(gradient, state.optimizer, state.params)
    return State(optax.apply_updates(state.params, updates), optimizer), value, parts


def feature_scale(sources: Sequence[Source], crop: int, network: Network) -> dict[str, Array]:
    """Returns the root mean square of the features of each layer over some crops."""
    crops = make_batch(sources, crop, seed=0, step=0).contents
    layers = jax.vmap(network)(crops)
    return {name: jnp.sqrt(jnp.mean(jnp.square(layers[name]))) for name in LAYERS}


def train(
    sources: Sequence[Source],
    loaded: weights.Loaded,
    checkpoint: Path,
    *,
    steps: int,
    crop: int = 128,
    seed: int = 0,
) -> Decoder:
    """Trains a decoder, from the checkpoint on if there is one.

    Args:
      sources: pictures.
      loaded: the network.
      checkpoint: file that the state is saved in.
      steps: steps in all.
      crop: sides of the crops in pixels.
      seed: of the random numbers.
    """
    network = loaded.network
    scale = feature_scale(sources, crop, network)
    channels = {name: architectures.CHANNELS[int(name[4]) - 1] for name in LAYERS}
    params = decoder.initial(channels, jax.random.key(seed))
    state, first = State(params, make_optimizer(steps).init(params)), 0
    if checkpoint.exists():
        state, first = flax.serialization.from_bytes((state, first), checkpoint.read_bytes())
        state = jax.tree.map(jnp.asarray, state)
    started = time.monotonic()
    for step in range(first, steps):
        batch = make_batch(sources, crop, seed, step)
        state, value, parts = train_step(
            state, batch, network, scale, steps=steps, phase=phase_of(step, steps)
        )
        line = {"step": step + 1, "loss": float(value), "s": round(time.monotonic() - started, 1)}
        typer.echo(json.dumps(line | {name: round(float(part), 4) for name, part in parts.items()}))
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == steps:
            with atomic.write(checkpoint) as file:
                file.write(flax.serialization.to_bytes((state, step + 1)))
    return Decoder(state.params, scale)


def main(
    network: Annotated[str, typer.Option(help="vgg16 or vgg19.")] = "vgg16",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Default: where jaxmrf finds it.")
    ] = None,
    folder: Annotated[
        Path, typer.Option(help="For the downloaded pictures and the checkpoint.")
    ] = Path("training"),
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of pictures of your own, instead.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps in all.")] = 2860,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
) -> None:
    """Trains the decoder of a network; killed, it goes on from the last checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    loaded = weights.load_file(weights.find(network))
    if pictures is None:
        sources = decoder_pictures.read(decoder_pictures.fetch(folder), folder / "package")
        facts = {
            "pictures": f"Debian {decoder_pictures.PACKAGE}, SHA-256 {decoder_pictures.SHA256}"
        }
    else:
        sources = decoder_pictures.folder_of_pictures(pictures)
        facts = {"pictures": "a folder of its maker's"}
    if not sources:
        raise SystemExit(f"there is no picture in {pictures}")
    checkpoint = folder / f"decoder-{network}.msgpack"
    trained = train(sources, loaded, checkpoint, steps=steps, seed=seed)
    facts |= {"steps": str(steps), "seed": str(seed), "network_sha256": loaded.sha256}
    output = output or weights.stored_file(f"decoder-{network}")
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic.write(output) as file:
        file.write(decoder_file.to_safetensors(trained, loaded.features, facts))
    typer.echo(f"wrote {output}, SHA-256 {atomic.digest(output, 'sha256')}")


if __name__ == "__main__":
    typer.run(main)
