"""What pictures say of how they were made, whoever wrote it."""

import dataclasses
import json
import tomllib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from typer.testing import CliRunner

from jaxmrf.cli import app
from jaxmrf.core.config import Config
from jaxmrf.errors import UserError
from jaxmrf.jobs import options, records

RECORD = {
    "jaxmrf": "0.2.0", "command": "transfer", "content": "photo.png", "style": ["one.png"],
    "initial": None, "content_guide": None, "style_guides": [], "mask": None,
    "width": 64, "height": 48, "network": "vgg16", "weights_sha256": "0" * 64,
    "config": dataclasses.asdict(Config(size=64)),
}  # fmt: skip
PICTURE = Image.fromarray(np.zeros((48, 64, 3), np.uint8))


def png(path, texts):
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_itxt(name, text) if name.startswith("XML") else info.add_text(name, text)
    PICTURE.save(path, pnginfo=info)
    return path


def refused(path):
    """Returns what both commands say, which is one line."""
    told = []
    for command in (["show-config", str(path)], ["inspect", str(path), "-o", str(path) + "-why"]):
        done = CliRunner().invoke(app.app, command)
        assert done.exit_code == 2, done.output
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert len(done.stderr) < 400 + len(str(path))
        told.append(done.stderr)
    assert told[0] == told[1]
    return told[0]


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"parameters": "a cat\nSteps: 20, Sampler: Euler a, Size: 512x512"},
        {"prompt": json.dumps({"3": {"class_type": "KSampler"}}), "workflow": "{}"},
        {"XML:com.adobe.xmp": "<x:xmpmeta/>", "Description": "a holiday"},
        *({"jaxmrf": text} for text in (
            "[]", '[["jaxmrf", 1], ["config", {}]]', "null", "5", '"text"', "{", "{}", "NaN",
            "[" * 99_999, '{"a":' * 99_999, '{"jaxmrf": ' + 9_999 * "9" + "}",
        )),
    ],
    ids=str,
)  # fmt: skip
def test_pictures_of_others_are_none_of_ours(tmp_path, texts):
    assert "is no picture that jaxmrf made" in refused(png(tmp_path / "a.png", texts))


@pytest.mark.parametrize("description", [json.dumps({"a": [1]}), "a holiday", b"\xff\xfe", 5])
@pytest.mark.parametrize("suffix", ["jpg", "webp", "tif"])
def test_descriptions_of_others_are_none_of_ours(tmp_path, description, suffix):
    exif = Image.Exif()
    exif[0x010E] = description
    PICTURE.save(tmp_path / f"a.{suffix}", exif=exif)
    assert "is no picture that jaxmrf made" in refused(tmp_path / f"a.{suffix}")


def test_comments_and_damaged_exif_are_none_of_ours(tmp_path):
    PICTURE.save(tmp_path / "a.jpg", comment=b"caf\xe9")
    assert "is no picture that jaxmrf made" in refused(tmp_path / "a.jpg")
    PICTURE.save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert "is no picture that jaxmrf made" in refused(tmp_path / "a.jpg")


def test_what_is_no_picture_is_one_line(tmp_path):
    whole = png(tmp_path / "whole.png", {}).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:60])
    (tmp_path / "text.png").write_text("words")
    (tmp_path / "link.png").symlink_to("nothing")
    for name, part in (
        ("cut.png", "cut.png"),
        ("text.png", "is not a JPEG"),
        ("link.png", "there is no file"),
        (".", "is a folder"),
    ):
        assert part in refused(tmp_path / name)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("command", ["transfer"], "command"),
        ("content", None, "does not go with its content"),
        ("content", ["a.png"], "name of an input"),
        ("content", "a\nb.png", "name of an input"),
        ("mask", {"a": 1}, "name of an input"),
        ("style", "one.png", "list of names"),
        ("style", [], "list of names"),
        ("style", ["\ud800"], "name of an input"),
        ("style_guides", {"a": 1}, "list of names"),
        ("style_guides", [None], "name of an input"),
        ("width", float("nan"), "its width is no number"),
        ("height", True, "its height is no number"),
        ("width", 10**30, "its width is no number"),
        ("network", ["vgg16"], "its network is none"),
        ("weights_sha256", "a\nb", "its weights_sha256 is none"),
        ("config", None, "no settings"),
        ("config", [], "no settings"),
        ("config", {}, "no settings"),
        ("config", {"seiz": 3}, "no setting 'seiz' in this version"),
        ("config", {"size": "big"}, "size is 'big'"),
        ("config", {"size": [1]}, "size is (1,)"),
        ("config", {"size": "x" * 99_999}, "size is [...]"),
        ("config", {"content_weight": float("nan")}, "content_weight is nan"),
        ("config", {"layers": [["a"]]}, "layers is ['a']"),
        ("config", {"effort": {"x": 1}}, "effort is {'x': 1}"),
        ("config", {"style_loss": ["mrf:x"]}, "style_loss is 'mrf:x'"),
    ],
)
def test_records_that_cannot_be_used_say_why(tmp_path, key, value, told):
    text = json.dumps({**RECORD, key: value})
    line = refused(png(tmp_path / "a.png", {"jaxmrf": text}))
    assert "does not say how it was made: " in line
    assert told in line


def test_settings_nested_without_end_are_one_line(tmp_path):
    whole = json.dumps({**RECORD, "config": "HERE"})
    for depth in (300, 900, 3000):
        text = whole.replace('"HERE"', '{"size": ' + depth * "[" + depth * "]" + "}")
        assert "a.png" in refused(png(tmp_path / "a.png", {"jaxmrf": text}))


@pytest.mark.parametrize(
    ("config", "stored"),
    [
        (Config(size=64, iterations=(60, 30, 15)), None),  # those of the effort, at any size
        (Config(size=64, levels=1, iterations=(60, 30, 15)), [60]),
        (Config(size=64, iterations=(5, 4)), [5]),  # more than levels, as there once could be
        (Config(size=64, levels=2, iterations=(0, 4)), [0, 4]),
    ],
)
def test_a_picture_asks_for_no_more_iterations_than_levels(tmp_path, config, stored):
    record = {**RECORD, "config": dataclasses.asdict(config)}
    png(tmp_path / "a.png", {"jaxmrf": json.dumps(record)})
    values = tomllib.loads(records.to_toml(records.read_record(tmp_path / "a.png")))
    assert values.get("iterations") == stored
    job = options.job({**values, "content": "a", "style": "b", "output": "c.png"})
    assert dataclasses.replace(job.config, iterations=config.iterations) == config


def test_what_others_add_to_a_record_does_not_matter(tmp_path):
    text = json.dumps({**RECORD, "sweep": {"seed": ["1", "2"]}, "parameters": None})
    path = png(tmp_path / "a.png", {"jaxmrf": text, "parameters": "Steps: 20"})
    assert records.read_record(path)["sweep"] == {"seed": ["1", "2"]}
    with pytest.raises(UserError):
        records.read_record(tmp_path / "b.png")
