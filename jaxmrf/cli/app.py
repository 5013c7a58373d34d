"""The command line: parses arguments, prints progress and errors, nothing else."""

import functools
import importlib.metadata
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from jaxmrf import api
from jaxmrf._version import __version__
from jaxmrf.analysis import suitability
from jaxmrf.analysis.suitability import Suitability
from jaxmrf.cli import batch, inspect, serve, sweep
from jaxmrf.cli.terminal import Group, console, noted_signals, say, user_errors
from jaxmrf.cli.weights import app as weights_app
from jaxmrf.core import config as settings
from jaxmrf.core import presets
from jaxmrf.core.run.plan import Plan
from jaxmrf.core.run.progress import Progress as Record
from jaxmrf.errors import ConfigError, WeightsError
from jaxmrf.files import image
from jaxmrf.jobs import options, paint
from jaxmrf.jobs.job import Job
from jaxmrf.machine import device as devices
from jaxmrf.machine import memory
from jaxmrf.networks import weights

app = typer.Typer(
    name="jaxmrf",
    cls=Group,
    help="Paints a photograph in the manner of a painting, by local patches of VGG features.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(weights_app, name="weights")
app.command("batch", **batch.ARGUMENTS)(batch.command)
app.command("sweep", **sweep.ARGUMENTS)(sweep.command)
app.command("inspect")(inspect.command)

PresetName = Literal["quick", "default", "fine", "paper", "reference"]
NetworkName = Literal["auto", "vgg16", "vgg19"]
DeviceKind = Literal["auto", "cpu", "gpu", "tpu"]

# Options without a default take the value of the preset; the help names that of `default`.
_PRESET = presets.PRESETS["default"]


def _option(text: str, field: str | None = None, flag: str | None = None, **more: Any) -> Any:
    if field is not None:
        value = getattr(_PRESET, field)
        value = ",".join(map(str, value)) if isinstance(value, tuple) else value
        text = f"{text} (default preset: {'automatic' if value in (None, '') else value})"
    names = () if flag is None else (flag,)
    return typer.Option(*names, help=text, show_default=field is None, **more)


Styles = Annotated[list[Path], typer.Argument(metavar="STYLE...", help="The painting, or several.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="The finished picture.")]
PresetOption = Annotated[PresetName, _option("Settings to start from.")]
StyleWeight = Annotated[float | None, _option("Weight of the MRF term.", "style_weight")]
TvWeight = Annotated[float | None, _option("Weight of the total variation.", "tv_weight")]
Layers = Annotated[str | None, _option("Layers of the MRF term, by comma or space.", "layers")]
PatchSize = Annotated[int | None, _option("Side of a patch in features.", "patch_size")]
Stride = Annotated[int | None, _option("Stride of patches in the result.", "stride")]
StyleStride = Annotated[int | None, _option("Stride of patches in the style.", "style_stride")]
Levels = Annotated[int | None, _option("Pyramid levels.", "levels")]
Iterations = Annotated[
    str | None,
    _option(
        "Iterations per level from the coarsest; the last serves all finer ones.", "iterations"
    ),
]
DecoderRounds = Annotated[
    int | None,
    _option("How often the decoder paints before the iterations.", "decoder_rounds"),
]
OptimizerOption = Annotated[settings.Optimizer | None, _option("Optimizer.", "optimizer")]
LineSearchOption = Annotated[settings.LineSearch | None, _option("Of L-BFGS.", "line_search")]
MatchingOption = Annotated[
    settings.Matching | None, _option("How patches are compared.", "matching")
]
Init = Annotated[
    str | None,
    _option("Start: content, noise, shuffle, or a picture file.", "init", metavar="INIT"),
]
Seed = Annotated[int | None, _option("Seed of every random choice.", "seed")]
StyleScale = Annotated[
    float | None, _option("Longest side of the style over that of the result.", "style_scale")
]
Rotations = Annotated[
    int | None, _option("Style copies rotated by up to ± this many 7.5° steps.", "rotations")
]
Scales = Annotated[
    int | None, _option("Style copies scaled by up to ± this many 5 % steps.", "scales")
]
NetworkOption = Annotated[NetworkName, _option("VGG network; auto takes the best there is.")]
WeightsFile = Annotated[
    Path | None,
    _option(
        f"Weight file of any known format, in place of all others, as {weights.ENVIRONMENT}.",
        metavar="FILE",
        flag="--weights",
    ),
]
DeviceOption = Annotated[DeviceKind, _option("Where to compute.")]
PreviewEvery = Annotated[
    int, _option("Iterations between previews beside the output; 0: none.", min=0)
]
Memory = Annotated[
    float | None,
    _option(
        "Gigabytes that the run may take; large pictures are computed in strips then, or "
        "refused with a size that fits (default: what the device has)",
        metavar="GB",
        flag="--memory",
    ),
]
MatchEvery = Annotated[
    int | None, _option("Find matches anew in every such iteration.", "match_every")
]
Preconditioner = Annotated[settings.Preconditioner | None, _option("Of L-BFGS.", "preconditioner")]
StyleLoss = Annotated[
    str | None,
    _option("Style losses with weights: mrf (this method), gram (Gatys 2015).", "style_loss"),
]
GramLayers = Annotated[str | None, _option("Layers of the Gram loss.", "gram_layers")]
StyleBlend = Annotated[
    str | None, _option("Weights of several styles, such as 3,7 (default: all the same)")
]
OverlapOption = Annotated[
    settings.Overlap | None,
    _option("Overlapping patches: their mean, that at full length, or their sum.", "overlap"),
]
MetricOption = Annotated[settings.Metric | None, _option("Nearest by which measure.", "metric")]
Variety = Annotated[
    float | None, _option("How much to avoid style patches that were taken often.", "variety")
]
ContentGuide = Annotated[
    Path | None,
    _option(
        "Picture in flat colors that says what is where in the result (default: "
        "*_sem.png beside the photograph, if every style has one)",
        metavar="FILE",
        flag="--content-guide",
    ),
]
StyleGuide = Annotated[
    list[Path] | None,
    _option("The same for a style; once for each.", metavar="FILE", flag="--style-guide"),
]
GuideWeight = Annotated[
    float | None, _option("How strictly guides hold; from 1 on strictly.", "guide_weight")
]
Tileable = Annotated[
    bool | None, _option("Make a picture that can be repeated without seams.", "tileable")
]
PoolingOption = Annotated[settings.Pooling | None, _option("Of the network.", "pooling")]
ConfigFile = Annotated[
    Path | None,
    _option(
        "TOML file with options by their long names; those on the command line go before.",
        metavar="FILE",
        flag="--config",
    ),
]
Trace = Annotated[Path | None, _option("Write each iteration's energy to this JSON Lines file.")]


@app.command()
def transfer(
    context: typer.Context,
    content: Annotated[Path, typer.Argument(metavar="CONTENT", help="The photograph.")],
    style: Styles,
    output: Output = Path("out.png"),
    size: Annotated[int | None, _option("Longest side of the result.", "size")] = None,
    preset: PresetOption = "default",
    content_weight: Annotated[
        float | None, _option("Weight of the content term; more keeps more.", "content_weight")
    ] = None,
    anchor: Annotated[
        float | None,
        _option("Share of the photograph in the matching, 0 to 1; more keeps more.", "anchor"),
    ] = None,
    content_share: Annotated[
        float | None,
        _option(
            "Share of the photograph in what is painted, 0 to 1; more keeps more.",
            "content_share",
        ),
    ] = None,
    style_weight: StyleWeight = None,
    tv_weight: TvWeight = None,
    style_loss: StyleLoss = None,
    gram_layers: GramLayers = None,
    style_blend: StyleBlend = None,
    layers: Layers = None,
    content_layer: Annotated[
        str | None, _option("Layer of the content term.", "content_layer")
    ] = None,
    patch_size: PatchSize = None,
    stride: Stride = None,
    style_stride: StyleStride = None,
    levels: Levels = None,
    iterations: Iterations = None,
    optimizer: OptimizerOption = None,
    line_search: LineSearchOption = None,
    preconditioner: Preconditioner = None,
    matching: MatchingOption = None,
    match_every: MatchEvery = None,
    decoder_rounds: DecoderRounds = None,
    overlap: OverlapOption = None,
    metric: MetricOption = None,
    variety: Variety = None,
    content_guide: ContentGuide = None,
    style_guide: StyleGuide = None,
    guide_weight: GuideWeight = None,
    tileable: Tileable = None,
    pooling: PoolingOption = None,
    init: Init = None,
    seed: Seed = None,
    style_scale: StyleScale = None,
    rotations: Rotations = None,
    scales: Scales = None,
    color: Annotated[
        settings.Color | None,
        _option(
            "match, histogram: the painting's palette; keep: the photograph's colors.", "color"
        ),
    ] = None,
    final_color: Annotated[
        float | None,
        _option(
            "How far the finished colors are brought to the painting's, 0 to 1.", "final_color"
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        _option("Only what is white in this picture changes.", metavar="FILE", flag="--mask"),
    ] = None,
    network: NetworkOption = "auto",
    weights_file: WeightsFile = None,
    device: DeviceOption = "auto",
    memory: Memory = None,
    preview_every: PreviewEvery = 10,
    trace: Trace = None,
    config_file: ConfigFile = None,
) -> None:
    """Paints the photograph CONTENT in the manner of the painting STYLE, or of several."""
    _run(context)


app.command()(serve.command(transfer))


@app.command()
def synthesize(
    context: typer.Context,
    style: Styles,
    output: Output = Path("out.png"),
    size: Annotated[
        str, _option("Width and height of the result.", metavar="WxH")
    ] = options.SYNTHESIS_SIZE,
    preset: PresetOption = "default",
    style_weight: StyleWeight = None,
    tv_weight: TvWeight = None,
    style_loss: StyleLoss = None,
    gram_layers: GramLayers = None,
    style_blend: StyleBlend = None,
    layers: Layers = None,
    patch_size: PatchSize = None,
    stride: Stride = None,
    style_stride: StyleStride = None,
    levels: Levels = None,
    iterations: Iterations = None,
    decoder_rounds: DecoderRounds = None,
    optimizer: OptimizerOption = None,
    line_search: LineSearchOption = None,
    preconditioner: Preconditioner = None,
    matching: MatchingOption = None,
    match_every: MatchEvery = None,
    overlap: OverlapOption = None,
    metric: MetricOption = None,
    variety: Variety = None,
    content_guide: ContentGuide = None,
    style_guide: StyleGuide = None,
    guide_weight: GuideWeight = None,
    tileable: Tileable = None,
    pooling: PoolingOption = None,
    init: Init = None,
    seed: Seed = None,
    style_scale: StyleScale = None,
    rotations: Rotations = None,
    scales: Scales = None,
    network: NetworkOption = "auto",
    weights_file: WeightsFile = None,
    device: DeviceOption = "auto",
    memory: Memory = None,
    preview_every: PreviewEvery = 10,
    trace: Trace = None,
    config_file: ConfigFile = None,
) -> None:
    """Makes a new picture from the patches of STYLE (un-guided synthesis)."""
    _run(context)


@app.command()
def show_config(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="One that jaxmrf made.")],
) -> None:
    """Prints the options that made PICTURE as TOML, for --config."""
    with user_errors():
        print(options.to_toml(image.read_settings(picture)), end="")


@app.command()
def info() -> None:
    """Prints versions, devices and weights."""
    with user_errors():
        print(f"jaxmrf {__version__}")
        for package in ("jax", "jaxlib", "flax", "optax", "numpy", "pillow"):
            print(f"{package} {importlib.metadata.version(package)}")
        print(f"python {sys.version.split()[0]}")
        for found in jax.devices():
            print(f"device {found.platform}:{found.id} {found.device_kind}")
        for path, found in weights.verify().items():
            if isinstance(found, WeightsError):
                print(f"weights {found}")
                continue
            print(f"weights {found.name} {path} SHA-256 {found.sha256}")
            print(f"  {found.about}")
        print(f"compiled programs {devices.cache_folder()}")


def main() -> None:
    """Runs the command line; the console script `jaxmrf`."""
    app()


def _run(context: typer.Context) -> None:
    """Runs `transfer` or `synthesize` with the values of its options."""
    params = context.params
    with user_errors():
        values = _options(context)
        job = options.job(values)
        for name, reason in options.without_effect(values, job).items():
            raise ConfigError(f"{name} has no effect: {reason}; leave it out")
        network = weights.load(params["network"], params["weights_file"])
        # Before there is a device, so no picture is read yet; none gets larger than asked for.
        longest = max(job.shape or (job.config.size,))
        if longest**2 <= memory.UNCHECKED_PIXELS:
            devices.keep_freed_memory()
        devices.choose(params["device"])
        devices.enable_program_cache()
        with (
            noted_signals(signal.SIGINT, at_once=True) as received,
            _Display(network, job) as display,
        ):

            def progressed(record: Record) -> None:
                display.progress(record)
                if received:
                    raise KeyboardInterrupt

            paint.run(
                job,
                network,
                on_plan=display.plan,
                on_progress=progressed,
                on_warning=say,
                on_suitability=functools.partial(_advise, job),
            )
        say(f"wrote {job.output}")


def _advise(job: Job, found: Suitability) -> None:
    """Says beforehand that a picture will come out poorly, and what may help."""
    text = suitability.advice(found, varied=job.config.variety > 0)
    if text is not None:
        say(f"advice: {text}")


def _options(context: typer.Context) -> dict[str, Any]:
    """Returns the options of a job: of the command line, of the file, then defaults."""
    apart = ("network", "weights_file", "device", "config_file")
    values = {name: value for name, value in context.params.items() if name not in apart}
    if context.params["config_file"] is None:
        return values
    given = {
        name: value
        for name, value in values.items()
        if context.get_parameter_source(name).name == "COMMANDLINE"
    }
    file = context.params["config_file"]
    read = options.read_toml(file)
    if "content" in read and "content" not in context.params:
        raise ConfigError(f"{file} has a content; use jaxmrf transfer, or take it out")
    return values | read | given


class _Display:
    """A progress bar on a terminal, else one line per level."""

    def __init__(self, network: weights.Loaded, job: Job) -> None:
        self._network = network
        self._rounds = api.rounds_of(job.config, network)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[terms]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("preparing", terms="", total=None)
        self._costs: list[int] = []

    def __enter__(self) -> "_Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def plan(self, plan: Plan) -> None:
        """Announces network and levels; the bar advances by pixels times rounds and iterations."""
        found = self._network.network
        say(f"network {found.architecture} to {found.deepest} ({self._network.source})")
        if plan.dropped:
            say(f"left out {plan.dropped} coarse level(s): no patch fits there")
        self._costs = [height * width for height, width in plan.shapes]
        steps = [self._rounds + iterations for iterations in plan.iterations]
        total = sum(map(int.__mul__, self._costs, steps))
        self._bar.update(self._task, total=total)

    def progress(self, record: Record) -> None:
        """Shows the level, the round or iteration, and the terms of the energy."""
        place = f"iteration {record.iteration}/{record.iterations}"
        if not record.iteration and record.decoded:
            place = f"round {record.decoded}/{self._rounds}"
        position = f"level {record.level + 1}/{record.levels} {place}"
        terms = " ".join(f"{name} {value:.4g}" for name, value in sorted(record.terms.items()))
        advance = self._costs[record.level] if record.iteration or record.decoded else 0
        self._bar.update(self._task, description=position, terms=terms, advance=advance)
        last = record.iteration == record.iterations and record.decoded == self._rounds
        if not console.is_terminal and last:
            energy = f" energy {record.value:.4g} {terms}" if record.iterations else ""
            say(f"{position}{energy}")
