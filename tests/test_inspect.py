"""`jaxmrf inspect`: matches that are known beforehand, what layers keep, curves, the page."""

import html.parser
import io
import json
import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from jaxmrf.analysis import match_map, reconstruction
from jaxmrf.analysis.match_map import Copy
from jaxmrf.cli import app
from jaxmrf.core import pyramid
from jaxmrf.core.config import Config
from jaxmrf.core.settings import CopySettings
from jaxmrf.errors import ConfigError
from jaxmrf.files import image
from jaxmrf.inspection import colors, curves, inspect, page
from jaxmrf.jobs import inputs, options
from jaxmrf.jobs.job import record_of
from jaxmrf.networks import weights
from tests.common import picture

ROOT = Path(__file__).resolve().parent.parent
STEPS = {"shallow": 1, "deep": 2}


def settings(shape, style, **more):
    """Settings under which a style has its own size beside a picture of `shape`."""
    given = {"layers": ("shallow", "deep"), "content_layer": "deep", "color": "none", "levels": 1}
    scale = max(style.shape[:2]) / max(shape)
    return Config(**{**given, "matching": "exact", "style_scale": scale, **more})


def maps(toy, image, styles, config, content=None):
    return match_map.match_maps(toy, image, content, styles, config)


def inside(values, step, border=6):
    """Returns positions that do not feel the border of a crop."""
    cut = border // step
    return values[cut:-cut, cut:-cut]


@pytest.mark.parametrize(("patch_size", "stride"), [(3, 1), (4, 3)])
def test_a_crop_of_the_style_finds_its_own_place_and_pixels(toy, patch_size, stride):
    style = picture(3, 48, 56)
    top, left, height, width = 8, 14, 32, 36
    crop = style[top : top + height, left : left + width]
    config = settings(crop.shape, style, patch_size=patch_size, stride=stride)
    found = maps(toy, crop, (style,), config)
    assert {name: each.step for name, each in found.items()} == STEPS
    for name, each in found.items():
        step = each.step
        assert each.place.shape[:2] == (height // step, width // step)
        rows = (top + step * (np.arange(height // step) + 0.5)) / 48
        columns = (left + step * (np.arange(width // step) + 0.5)) / 56
        place = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)
        np.testing.assert_allclose(inside(each.place, step, 10), inside(place, step, 10), atol=1e-5)
        np.testing.assert_allclose(inside(each.assembled, 1, 10), inside(crop, 1, 10), atol=1e-5)
        assert inside(each.score, step, 10).min() > 0.9999
        assert not each.copy.any(), name


def test_two_styles_and_their_copies_are_told_apart(toy):
    styles = picture(4, 48, 48), picture(5, 48, 48)
    crop = jnp.concatenate([styles[0][8:40, 4:24], styles[1][8:40, 20:40]], axis=1)
    config = settings(crop.shape, styles[0], scales=1)
    copies = match_map.copies(2, config)
    assert len(copies) == 6
    for each in maps(toy, crop, styles, config).values():
        middle = each.copy.shape[1] // 2
        for style, half in enumerate((each.copy[:, :middle], each.copy[:, middle:])):
            taken = {copies[index] for index in inside(half, each.step).ravel()}
            assert taken == {Copy(style, 0.0, 1.0)}
        shares = match_map.shares(each, len(copies))
        assert shares.sum() == pytest.approx(1.0)
        assert shares[[copies.index(Copy(style, 0.0, 1.0)) for style in (0, 1)]].sum() > 0.6


def test_a_turned_copy_is_found_and_its_places_turned_back(toy):
    style = picture(6, 64, 64)
    config = settings((40, 40), style, rotations=1, rotation_step=15.0)
    number = 2  # turned by 15 degrees
    copies = CopySettings(rotations=1, rotation_step=15.0)
    turned = jax.jit(lambda picture: pyramid.style_copies(picture, copies))(style)[number]
    top, left = ((side - 40) // 4 * 2 for side in turned.shape[:2])
    each = maps(toy, turned[top : top + 40, left : left + 40], (style,), config)["shallow"]
    assert match_map.copies(1, config)[number] == Copy(0, 15.0, 1.0)
    assert (inside(each.copy, 1) == number).all()
    y, x = (
        first + np.arange(40) + 0.5 - side / 2
        for first, side in zip((top, left), turned.shape[:2], strict=True)
    )
    sine, cosine = math.sin(math.radians(15)), math.cos(math.radians(15))
    rows = (cosine * y[:, None] + sine * x + 32) / 64
    columns = (-sine * y[:, None] + cosine * x + 32) / 64
    place = np.stack([rows, columns], axis=-1)
    np.testing.assert_allclose(inside(each.place, 1), inside(place, 1), atol=1e-4)


def test_a_tileable_picture_is_assembled_up_to_its_borders(toy):
    tile = picture(7, 32, 32)
    style = jnp.tile(tile, (3, 3, 1))
    config = settings(tile.shape, style, tileable=True)
    for each in maps(toy, tile, (style,), config).values():
        assert each.place.shape[:2] == (32 // each.step, 32 // each.step)
        np.testing.assert_allclose(each.assembled, tile, atol=1e-4)


def test_with_kept_colors_matches_go_by_light_and_pixels_are_the_painting_s(toy):
    style = picture(8, 32, 32)
    content = picture(9, 32, 32)
    config = settings(content.shape, style, color="keep")
    each = maps(toy, content, (style,), config, content=content)["shallow"]
    assert np.ptp(each.assembled, axis=-1).mean() > 0.5 * np.ptp(style, axis=-1).mean()
    grey = jnp.repeat(content.mean(axis=-1, keepdims=True), 3, axis=-1)
    colorless = maps(toy, grey, (style,), config, content=content)["shallow"]
    assert (colorless.place == each.place).mean() > 0.3  # only lightness differs a little


def test_every_place_has_its_color_and_styles_share_them():
    key, other = colors.keys([(64, 64), (32, 64)])
    assert key.shape == (64, 64, 3)
    assert other.shape == (32, 64, 3)
    shown = np.concatenate([key[4::8, 4::8].reshape(-1, 3), other[4::8, 4::8].reshape(-1, 3)])
    apart = np.abs(shown[:, None] - shown[None]).max(axis=-1) + np.eye(len(shown))
    assert apart.min() > 0.01
    (alone,) = colors.keys([(64, 64)])
    np.testing.assert_allclose(alone[0, 0], colors.CORNERS[0, 0], atol=0.02)
    assert (key[0, -1] < alone[0, -1]).any()  # the first of two has not the last color


def test_a_shallow_layer_keeps_more_of_a_picture_than_a_deep_one(toy):
    original = picture(10, 24, 32)
    likeness = {}
    for layer in ("shallow", "deep"):
        config = reconstruction.settings(layer, 32, 40)
        *_, last = reconstruction.reconstruct(toy, original, config)
        assert last.terms["gram"] == 0.0
        likeness[layer] = reconstruction.likeness(last.picture(), original)
    assert likeness["shallow"] > 0.97
    assert likeness["shallow"] > likeness["deep"] + 0.02
    noise = np.random.default_rng(0).random((24, 32, 3), np.float32)
    assert likeness["deep"] > reconstruction.likeness(jnp.asarray(noise), original) + 0.3


TRACE = [
    {"level": 1, "iteration": 1, "energy": 4.0, "terms": {"mrf": 4.0, "content": 0.0}},
    {"level": 1, "iteration": 2, "energy": 3.0, "terms": {"mrf": 2.0, "content": 1.0}},
    {"level": 2, "iteration": 1, "energy": 2.0, "terms": {"mrf": 1.5, "content": 0.5}},
]


def write_trace(path, records=TRACE):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_curves_follow_the_trace(tmp_path):
    records = curves.read(write_trace(tmp_path / "run.jsonl"))
    assert curves.series(records) == {
        "energy": [4.0, 3.0, 2.0],
        "mrf": [4.0, 2.0, 1.5],
        "content": [0.0, 1.0, 0.5],
    }
    drawn = curves.draw(records)
    with Image.open(io.BytesIO(drawn)) as file:
        assert file.format == "PNG"
        assert file.size == (960, 540)
    assert drawn == curves.draw(records)
    others = [{**record, "energy": 2 * record["energy"]} for record in records]
    assert drawn != curves.draw(others)
    assert drawn != curves.draw([{**record, "level": 1} for record in records])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ('{"level": 1, "energy": 1, "terms": {}}\nnonsense\n', "line 2"),
        ("[]\n", "line 1"),
        ('{"level": 1, "energy": 1}\n', "line 1"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path, text, message):
    (tmp_path / "run.jsonl").write_text(text)
    with pytest.raises(ConfigError, match=message):
        curves.read(tmp_path / "run.jsonl")


class References(html.parser.HTMLParser):
    """Collects what a page refers to."""

    def __init__(self, text):
        super().__init__()
        self.found, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found += [
            value for name, value in attributes if name in ("src", "href", "srcset", "data")
        ]

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_escapes_what_it_shows():
    content = image.encode(image.Picture(np.zeros((4, 4, 3), np.float32)), "PNG", {})
    figure = page.Figure(content, '"><script>1</script>', "PNG")
    html = page.render("<b>", [page.Section("<i>", "<u>", (figure,))])
    assert not {b"<script", b"<b>", b"<i>", b"<u>"} & {
        tag for tag in (b"<script", b"<b>", b"<i>", b"<u>") if tag in html
    }


@pytest.fixture
def painted(tmp_path, monkeypatch):
    """A picture, with the inputs it says it was made from, in a folder of its own."""
    for name, seed, shape in (("photo", 1, (40, 64)), ("one", 2, (64, 48)), ("two", 3, (48, 64))):
        image.save(tmp_path / f"{name}.png", image.Picture(np.asarray(picture(seed, *shape))), {})
    job = options.job(
        {
            "content": tmp_path / "photo.png",
            "style": [tmp_path / "one.png", tmp_path / "two.png"],
            "output": tmp_path / "painted.png",
            "size": 64,
            "layers": ("relu3_1",),
            "levels": 1,
        }
    )
    written = record_of(job, weights.load(), (40, 64))
    image.save(job.output, image.Picture(np.asarray(picture(4, 40, 64))), written)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_inspect_writes_a_page_that_needs_no_other_file(painted):
    write_trace(painted / "run.jsonl")
    more = "--trace run.jsonl --layers relu2_1 --size 32 --iterations 10"
    done = CliRunner().invoke(app.app, ["inspect", "painted.png", "-o", "why", *more.split()])
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    layers = ("relu2_1",)
    assert sorted(path.name for path in (painted / "why").iterdir()) == sorted(
        [
            *("key.png", "matches-relu3_1.png", "assembled-relu3_1.png", "energy.png"),
            *(f"reconstruction-{layer}.png" for layer in layers),
            "index.html",
        ]
    )
    with Image.open(painted / "why" / "matches-relu3_1.png") as file:
        assert file.size == (64, 40)
    with Image.open(painted / "why" / "reconstruction-relu2_1.png") as file:
        assert file.size == (32, 20)
    text = (painted / "why" / "index.html").read_text()
    shown = References(text)
    assert len(shown.found) == 4 + 3 + len(layers) + 1  # pictures, matches, layers, curves
    assert all(found.startswith("data:image/") for found in shown.found)
    assert not {"url(", "@import", "http:", "https:", "<script"} & {
        part for part in ("url(", "@import", "http:", "https:", "<script") if part in text
    }
    assert "from style 2" in " ".join(shown.texts)


def test_guides_and_mask_are_found_and_hold(tmp_path):
    """Matches stay within the labels of the guides; outside the mask the photograph is matched."""
    content, style = (np.asarray(picture(seed, 64, 64)) for seed in (1, 2))
    mask = np.zeros_like(content)
    mask[:, :32] = 1.0
    pixels = {
        "photo": content,
        "style": style,
        "mask": mask,
        "where": mask,
        "from": mask[:, ::-1],
        "free": np.where(mask > 0.5, np.asarray(picture(4, 64, 64)), content),
    }
    for name, each in pixels.items():
        image.save(tmp_path / f"{name}.png", image.Picture(each), {})
    loaded, maps = weights.load(), {}
    quick = {"size": 64, "layers": ("relu2_1",), "content_layer": "relu2_1", "levels": 1}
    guides = {"content_guide": tmp_path / "where.png", "style_guide": [tmp_path / "from.png"]}
    # The masked picture has something else outside, which must not be seen.
    cases = {
        "masked": (np.asarray(picture(4, 64, 64)), {"mask": tmp_path / "mask.png"}),
        "free": (pixels["free"], {}),
        "guided": (pixels["free"], guides),
    }
    for name, (result, more) in cases.items():
        output = tmp_path / f"{name}-out.png"
        files = {"content": tmp_path / "photo.png", "style": tmp_path / "style.png"}
        given = options.job({**quick, **files, **more, "output": output})
        written = record_of(given, loaded, (64, 64))
        image.save(output, image.Picture(result), written)
        job = inspect.job_of(inspect.Request(output, tmp_path / "why", {}))
        assert (job.content_guide, job.style_guides, job.mask) == (
            given.content_guide, given.style_guides, given.mask,
        )  # fmt: skip
        pictures, painted = inputs.load(job), image.load(job.output).pixels
        maps[name] = inspect._match_maps(job, pictures, painted, loaded)["relu2_1"]
    np.testing.assert_array_equal(maps["masked"].place, maps["free"].place)
    crossed = {}
    for name in ("free", "guided"):
        columns = maps[name].place[..., 1]
        half = columns.shape[1] // 2
        crossed[name] = max((columns[:, :half] < 0.5).mean(), (columns[:, half:] > 0.5).mean())
    assert crossed["guided"] < 0.05
    assert crossed["free"] > 0.2


def refused(painted, *arguments):
    before = sorted(painted.iterdir())
    done = CliRunner().invoke(app.app, ["inspect", "painted.png", *arguments])
    assert done.exit_code == 2, done.output
    assert done.stderr.count("\n") == 1
    assert sorted(painted.iterdir()) == before
    return done.stderr


def test_inputs_are_found_or_named(painted):
    (painted / "two.png").rename(painted / "other.png")
    assert "two.png" in refused(painted, "-o", "why")
    assert "--style" in refused(painted, "-o", "why")
    assert "2 of --style, here are 1" in refused(painted, "--style", "one.png")
    arguments = "--style one.png --style other.png --no-reconstructions -o why"
    done = CliRunner().invoke(app.app, ["inspect", "painted.png", *arguments.split()])
    assert done.exit_code == 0, done.output
    assert not list((painted / "why").glob("reconstruction-*"))
    assert "other.png" in (painted / "why" / "index.html").read_text()


def test_what_cannot_be_inspected_is_told_in_one_line(painted, monkeypatch):
    assert "no folder" in refused(painted, "-o", "one.png")
    assert "no such file" in refused(painted, "--trace", "none.jsonl").lower()
    write_trace(painted / "run.jsonl")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "needs matplotlib: pip install matplotlib" in refused(painted, "--trace", "run.jsonl")
    written = image.read_settings(painted / "painted.png")
    pixels = image.load(painted / "painted.png")
    for change, message in (
        ({"width": 63}, "was painted with 63×40"),
        ({"weights_sha256": "0" * 64}, "--weights"),
        ({"config": None}, "does not say"),
    ):
        stored = {key: value for key, value in {**written, **change}.items() if value is not None}
        image.save(painted / "painted.png", pixels, stored)
        assert message in refused(painted, "-o", "why")
    image.save(painted / "painted.png", pixels, {})
    (painted / "painted.png").write_bytes((painted / "one.png").read_bytes()[:50])
    assert "painted.png" in refused(painted, "-o", "why")


def test_inputs_are_not_overwritten(painted):
    (painted / "one.png").rename(painted / "key.png")
    arguments = "--style key.png --style two.png --no-reconstructions -o ."
    assert "key.png is an input" in refused(painted, *arguments.split())
