"""Seeing why a picture is as it is: from an output of jaxmrf to a folder of pictures."""

import dataclasses
import itertools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxmrf.analysis import match_map, reconstruction
from jaxmrf.core import pyramid
from jaxmrf.core.pyramid import at_size
from jaxmrf.core.run.progress import Progress
from jaxmrf.errors import ConfigError, FolderError, ImageError, WeightsError
from jaxmrf.files import atomic, image, paths
from jaxmrf.files.image import Picture
from jaxmrf.files.sources import InputPictures
from jaxmrf.inspection import colors, curves, page
from jaxmrf.inspection.page import Figure, Section
from jaxmrf.jobs import inputs, options
from jaxmrf.jobs.job import Job
from jaxmrf.jobs.records import read_record
from jaxmrf.networks import weights
from jaxmrf.planning import Pixels, plan_run, with_pooling

PAGE = "index.html"


@dataclasses.dataclass(frozen=True)
class Request:
    """A picture to inspect, and what to show of it.

    Attributes:
      picture: the finished picture, an output of jaxmrf.
      folder: where the files go; made if it is not there.
      inputs: files by the names of `INPUTS`, for those that are not found by themselves.
      trace: of the run that made the picture; None: no curves.
      reconstructions: whether to make them.
      layers: of the reconstructions; empty: `reconstruction.LAYERS`, as far as they are there.
      size: longest side of the reconstructions in pixels.
      iterations: of each reconstruction.
    """

    picture: Path
    folder: Path
    inputs: Mapping[str, Any]
    trace: Path | None = None
    reconstructions: bool = True
    layers: tuple[str, ...] = ()
    size: int = 256
    iterations: int = 100


GAP = 8
"""Pixels between a style and its key."""

MOST_TAKEN = 4
"""Style copies that a caption names."""

OVERVIEW = "The finished picture first, then the photograph, if there was one, and the styles."
MATCHES = (
    "Each position of the picture has the color of the place in the style where its patch found "
    "its match; the key shows which color is which place. Where the shaded squares of the key "
    "appear whole, a piece of the style was copied as it is; confetti is put together from many "
    "places; one color all over is one piece used again and again. Several styles share the "
    "colors from left to right."
)
NO_MATCHES = "This picture was made without the style loss mrf: no patches were matched."
ASSEMBLED = (
    "The pixels of the style at the matches, in place of the picture's own; where patches "
    "overlap, their mean. This is what the layer asks the picture to be: sharp where neighbors "
    "agree on a piece of the style, blurred where they do not. Parts of the motif that are "
    "missing here have no likeness in the style at this layer."
)
RECONSTRUCTIONS = (
    "The picture that has the same activations in this layer alone, found from noise. Shallow "
    "layers keep every edge and color; deep ones keep which parts are where and leave open how "
    "they are painted. What a deep layer leaves open, the style can fill."
)
ENERGY = (
    "The weighted energy and its terms before each iteration, on a logarithmic scale; a line "
    "where a pyramid level starts. The energy jumps there, since the next level has other "
    "weights and sizes. A curve that has become flat gains nothing from more iterations; the "
    "highest term is the one that decides."
)

INPUTS = ("content", "style", "content_guide", "style_guide", "mask")
"""Inputs of a run, by the names of their options."""

_STORED = {"style_guide": "style_guides"}
"""What the record of a picture calls an input, where that is not the name of its option."""


def write_report(
    request: Request,
    loaded: weights.Loaded,
    *,
    on_progress: Callable[[str, Progress], Any] = lambda layer, progress: None,
    on_file: Callable[[Path], Any] = lambda path: None,
) -> None:
    """Writes match maps, assembled pictures, reconstructions, curves and the page.

    Args:
      request: what to show.
      loaded: the network that made the picture, see `network_of`.
      on_progress: called after each iteration of the reconstruction from a layer.
      on_file: called when a file is there.

    Raises:
      ImageError: if a picture cannot be read, or is none of jaxmrf's.
      ConfigError: if an input is not found or something cannot be used.
    """
    job = job_of(request)
    trace, records = request.trace, None
    if trace is not None:
        records = curves.read(trace)
        curves.check_library()
    _layers(request, loaded)
    pictures, painted = inputs.load(job), image.load(job.output).pixels
    folder = _Folder(request, job, on_file)
    sections = [_overview(job, pictures, painted)]
    if "mrf" in job.config.style_losses():
        sections += _matches(folder, job, pictures, painted, loaded)
    else:
        sections.append(Section("Matches", NO_MATCHES, ()))
    if request.reconstructions:
        sections.append(_reconstructions(folder, request, job, pictures, loaded, on_progress))
    if trace is not None and records is not None:
        figure = Figure(curves.draw(records), trace.name, "PNG", wide=True)
        folder.write("energy.png", figure.content)
        sections.append(Section("The energy", ENERGY, (figure,)))
    folder.write(PAGE, page.render(f"Why {job.output.name} is as it is", sections))


def job_of(request: Request) -> Job:
    """Returns the job that made the picture, with its inputs where they are now.

    The picture has the names of its inputs, no folders: they are looked for beside it and in
    the current folder.

    Raises:
      ImageError: if the file is no picture that jaxmrf made.
      ConfigError: if an input is not found.
    """
    record = read_record(request.picture)
    values = {name: value for name, value in record["config"].items() if value is not None}
    if record["command"] == "synthesize":
        values["size"] = f"{record['width']}x{record['height']}"
    for name in INPUTS:
        stored = record.get(_STORED.get(name, name))
        if stored:
            values[name] = _input(name, stored, request)
    job = options.job({**values, "output": request.picture})
    shape, expected = image.shape_of(request.picture), (record["height"], record["width"])
    if shape != expected:
        raise ConfigError(
            f"{request.picture} has {shape[1]}×{shape[0]} pixels and was painted with "
            f"{expected[1]}×{expected[0]}; give the file as jaxmrf wrote it"
        )
    return job


def _input(name: str, stored: Any, request: Request) -> Any:
    """Returns the file or the files of an input, those that the user names first."""
    option = "--" + name.replace("_", "-")
    named = request.inputs.get(name)
    if not isinstance(stored, list):
        return named or _find_input(str(stored), option, request.picture)
    if named and len(named) != len(stored):
        raise ConfigError(
            f"{request.picture} was made with {len(stored)} of {option}, here are {len(named)}"
        )
    return list(
        named or [_find_input(str(stored_name), option, request.picture) for stored_name in stored]
    )


def _find_input(stored: str, option: str, picture: Path) -> Path:
    name = Path(stored).name
    for path in (picture.parent / name, Path(name)):
        if path.is_file():
            return path
    raise ConfigError(
        f"{name}, which {picture} was made from, is neither beside it nor in the current "
        f"folder; name it with {option}"
    )


def network_of(picture: Path, file: Path | None) -> weights.Loaded:
    """Returns the network that made a picture, with the weights in `file` if it is named.

    Raises:
      ImageError: if the file is no picture that jaxmrf made.
      WeightsError: if it is not there, or the weights are others.
    """
    record = read_record(picture)
    name, digest = str(record.get("network")), record.get("weights_sha256")
    loaded = weights.load(name if name in ("vgg16", "vgg19") else "auto", file)
    if loaded.sha256 != digest:
        raise WeightsError(
            f"{picture} was made with weights of SHA-256 {digest}, {loaded.path} has "
            f"{loaded.sha256}; name their file with --weights"
        )
    return loaded


class _Folder:
    """The folder of the files, each of them whole or not at all; made with the first of them."""

    def __init__(self, request: Request, job: Job, on_file: Callable[[Path], Any]) -> None:
        self._path, self._on_file = request.folder, on_file
        inputs = (job.output, job.content, *job.styles, job.content_guide, *job.style_guides)
        inputs = (*inputs, job.mask, request.trace)
        self._inputs = {paths.identity(path) for path in inputs if path is not None}
        existing = self._path
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise FolderError(
                f"cannot write to the folder {self._path}: {existing} is no folder, or there is "
                "no permission"
            )

    def write(self, name: str, content: bytes) -> None:
        path = self._path / name
        if paths.identity(path) in self._inputs:
            raise ConfigError(f"{path} is an input; choose another folder with -o")
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            with atomic.write(path) as temporary:
                temporary.write(content)
        except OSError as error:
            raise ImageError(f"cannot write {path}: {error.strerror}") from None
        self._on_file(path)

    def figure(
        self,
        name: str,
        pixels: Float[np.ndarray, "h w 3"],
        caption: str,
        kind: Literal["JPEG", "PNG"] = "JPEG",
    ) -> Figure:
        """Writes a picture and returns it for the page."""
        content = image.encode(Picture(pixels), "PNG", {})
        self.write(name, content)
        return Figure(content, caption, kind)


def _overview(job: Job, pictures: InputPictures, painted: Pixels) -> Section:
    named = [(job.output, painted)]
    if job.content is not None and pictures.content is not None:
        named.append((job.content, pictures.content.pixels))
    named += zip(job.styles, pictures.styles, strict=True)
    figures = tuple(
        Figure(image.encode(Picture(pixels), "PNG", {}), path.name) for path, pixels in named
    )
    return Section("The picture and what it was made from", OVERVIEW, figures)


def _matches(
    folder: _Folder, job: Job, pictures: InputPictures, painted: Pixels, loaded: weights.Loaded
) -> list[Section]:
    """Matches the picture against its styles, and writes what is to be seen of it."""
    maps = _match_maps(job, pictures, painted, loaded)
    copies = match_map.copies(len(job.styles), job.config)
    style_of_copy = np.array([copy.style for copy in copies])
    shapes = [style.shape[:2] for style in pictures.styles]
    longest = max(painted.shape[:2])
    beside = _beside(pictures.styles, colors.keys(shapes), longest)
    colored = [folder.figure("key.png", beside, "the style, and the color of each place", "PNG")]
    assembled = []
    for name, matches in maps.items():
        places = colors.colored(matches.place, style_of_copy[matches.copy], shapes)
        places = places.repeat(matches.step, axis=0).repeat(matches.step, axis=1)
        caption = f"{name}: {_taken(matches, copies)}"
        colored.append(folder.figure(f"matches-{name}.png", places, caption, "PNG"))
        assembled.append(folder.figure(f"assembled-{name}.png", matches.assembled, name))
    return [
        Section("Where each position found its match", MATCHES, tuple(colored)),
        Section("The style put together at the matches", ASSEMBLED, tuple(assembled)),
    ]


def _match_maps(
    job: Job, pictures: InputPictures, painted: Pixels, loaded: weights.Loaded
) -> dict[str, match_map.MatchMap]:
    # Of the style losses only this one has matches, and no iteration is made.
    config = dataclasses.replace(job.config, style_loss=("mrf",), iterations=(1,))
    planned = plan_run(
        painted.shape[:2],
        [style.shape[:2] for style in pictures.styles],
        config,
        loaded.network,
        has_content=pictures.content is not None,
    )
    return match_map.match_maps(
        planned.network,
        jnp.asarray(painted),
        None if pictures.content is None else jnp.asarray(pictures.pixels),
        tuple(map(jnp.asarray, pictures.styles)),
        config,
        guides=jax.tree.map(jnp.asarray, pictures.guides),
        mask=None if pictures.mask is None else jnp.asarray(pictures.mask, jnp.float32),
    )


def _beside(
    styles: list[np.ndarray], keys: list[np.ndarray], longest: int
) -> Float[np.ndarray, "h w 3"]:
    """Returns each style with its key on its right, one pair below the other."""
    pairs = []
    for pair in zip(styles, keys, strict=True):
        height, width, _ = pair[0].shape
        shape = pyramid.fit(height, width, longest)
        style, key = (np.asarray(at_size(jnp.asarray(picture), shape)) for picture in pair)
        pairs.append(np.concatenate([style, np.ones((shape[0], GAP, 3), np.float32), key], axis=1))
    width = max(pair.shape[1] for pair in pairs)
    return np.concatenate(
        [
            np.pad(pair, ((0, GAP), (0, width - pair.shape[1]), (0, 0)), constant_values=1.0)
            for pair in pairs
        ]
    )[:-GAP]


def _taken(matches: match_map.MatchMap, copies: list[match_map.Copy]) -> str:
    """Returns how alike the matches are, and from which copies they come where there are many."""
    text = f"mean score {matches.score.mean():.2f}"
    if len(copies) == 1:
        return text
    shares = match_map.shares(matches, len(copies))
    order = np.argsort(-shares, kind="stable")[:MOST_TAKEN]
    named = [f"{shares[index]:.0%} from {_name(copies[index], copies)}" for index in order]
    return ", ".join([text, *named])


def _name(copy: match_map.Copy, copies: list[match_map.Copy]) -> str:
    parts = [f"style {copy.style + 1}"] if copies[-1].style else []
    if any(other.degrees for other in copies):
        parts.append(f"turned {copy.degrees:g}°")
    if any(other.ratio != 1.0 for other in copies):
        parts.append(f"×{copy.ratio:.3g}")
    return " ".join(parts)


def _layers(request: Request, loaded: weights.Loaded) -> tuple[str, ...]:
    known = loaded.features.layers
    for layer in request.layers:
        if layer not in known:
            raise ConfigError(f"the network has no layer {layer!r}; it has {', '.join(known)}")
    return request.layers or tuple(layer for layer in reconstruction.LAYERS if layer in known)


def _reconstructions(
    folder: _Folder,
    request: Request,
    job: Job,
    pictures: InputPictures,
    loaded: weights.Loaded,
    on_progress: Callable[[str, Progress], Any],
) -> Section:
    """Reconstructs the content, or the style where there is none, from one layer after another."""
    network = dataclasses.replace(with_pooling(loaded.network, job.config), decoder=None)
    source = jnp.asarray(pictures.styles[0] if pictures.content is None else pictures.pixels)
    figures = []
    for layer in _layers(request, loaded):
        config = reconstruction.settings(layer, request.size, request.iterations, job.config.seed)
        records = reconstruction.reconstruct(network, source, config)
        last = first = next(records)  # when its level starts
        for last in itertools.chain([first], records):
            on_progress(layer, last)
        rebuilt = last.picture()
        likeness = reconstruction.likeness(rebuilt, source)
        caption = f"{layer}: correlation with the picture {likeness:.3f}"
        name = f"reconstruction-{layer}.png"
        figures.append(folder.figure(name, np.asarray(rebuilt), caption))
    of = job.styles[0] if job.content is None else job.content
    return Section(f"What a layer keeps of {of.name}", RECONSTRUCTIONS, tuple(figures))
