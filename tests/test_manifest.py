import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxmrf.batch import manifest
from jaxmrf.core.config import Config
from jaxmrf.errors import ConfigError
from jaxmrf.jobs.job import Job
from jaxmrf.networks import weights


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def read(folder, text, name="list.jsonl", **defaults):
    (folder / name).write_text(text)
    return manifest.read(folder / name, folder / "out", defaults)


def test_json_lines_and_csv_say_the_same(folder):
    rows = [
        {"content": "a.png", "style": "b.png", "output": "x.png", "size": 64, "seed": 3},
        {"content": "a.png", "style": ["b.png", "c.png"], "output": "in/y.jpg"},
    ]
    table = "content,style,output,size,seed\na.png,b.png,x.png,64,3\na.png,b.png;c.png,in/y.jpg,,\n"
    lines = read(folder, "\n".join(map(json.dumps, rows)), content_weight="0.5")
    other = read(folder, table, "list.csv", content_weight="0.5")
    assert [dataclasses.replace(line, number=0) for line in lines] == [
        dataclasses.replace(line, number=0) for line in other
    ]
    assert [line.number for line in lines] == [1, 2]
    assert lines[0].job.content == folder / "a.png"
    assert lines[0].job.output == folder / "out" / "x.png"
    assert lines[0].job.config == dataclasses.replace(Config(), size=64, seed=3, content_weight=0.5)
    assert lines[1].job.styles == (folder / "b.png", folder / "c.png")


def test_all_faults_are_told_with_their_lines(folder):
    good = {"content": "a.png", "style": "b.png", "output": "x.png"}
    faulty = [
        "not json",
        json.dumps({**good, "siez": 3}),
        json.dumps({**good, "style": "gone.png", "output": "2.png"}),
        json.dumps({**good, "output": "../x.png"}),
        json.dumps({**good, "output": "3.gif"}),
        json.dumps({**good, "output": "4.png", "size": -1}),
        json.dumps({**good, "output": "5.png", "trace": "t"}),
        json.dumps({**good, "output": "6.png", "style": 7}),
        json.dumps({**good, "output": "7.png", "style": []}),
        "[]",
        json.dumps(good),
    ]
    with pytest.raises(ConfigError) as error:
        read(folder, "\n".join([json.dumps(good), "", *faulty]))
    told = str(error.value).splitlines()[1:]
    assert [line.split(":")[0] for line in told] == [f"line {n}" for n in range(3, 14)]
    for line, part in zip(
        told,
        ["not JSON", "'size'", "gone.png", "inside", ".gif", "size is -1", "trace", "style is 7",
         "'style' is missing", "not an object", "that of line 1"],
        strict=True,
    ):  # fmt: skip
        assert part in line


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"optimizer": "sgd"}, "no optimizer 'sgd'"),
        ({"matching": "foo"}, "no matcher 'foo'"),
        ({"style_loss": "mrf:1,foo:2"}, "no style loss 'foo'"),
        ({"layers": "relu9_9"}, "no layer 'relu9_9'"),
        ({"style_blend": "1,2"}, "2 weights for 1 style"),
        ({"content_guide": "c.png"}, "together"),
        ({"content": 300 * "a"}, "File name too long"),
        ({"output": "\ud800.png"}, "encode"),
        ({"output": "b.png"}, "overwrite"),
        ({"output": "y.png/x.png"}, "line 2: the output is the name of a folder of line 1"),
    ],
)
def test_settings_and_names_that_cannot_work_are_found_before_anything_runs(folder, row, told):
    good = {"content": "a.png", "style": "b.png", "output": "x.png"}
    rows = [json.dumps(each) for each in ({**good, **row}, {**good, "output": "y.png"})]
    (folder / "list.jsonl").write_text("\n".join(rows))
    with pytest.raises(ConfigError, match=r"^\S+ cannot be used:\nline \d: ") as error:
        manifest.read(folder / "list.jsonl", folder, {}, weights.load("vgg16"))
    assert told in str(error.value)


def test_no_output_takes_the_place_of_what_another_line_reads(folder):
    rows = [
        {"content": "a.png", "style": "b.png", "output": "c.png"},
        {"content": "c.png", "style": "b.png", "output": "d.png"},
    ]
    (folder / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(
        ConfigError, match=r"line 1: .* would overwrite .*c.png, which line 2 reads"
    ):
        manifest.read(folder / "list.jsonl", folder, {})
    assert len(read(folder, "\n".join(map(json.dumps, rows)))) == 2  # into another folder


def test_lines_are_counted_as_editors_do(folder):
    row = {"content": "a.png", "style": "b.png", "output": "1\u20282.png"}
    [line] = read(folder, json.dumps(row, ensure_ascii=False))
    assert line.name == "1\u20282.png"
    with pytest.raises(ConfigError, match="line 1: not JSON"):
        read(folder, 100_000 * "[")
    table = 'content,style,output\na.png,b.png,x.png\na.png,"b"c.png,y.png\n'
    with pytest.raises(ConfigError, match="line 3: not CSV"):
        read(folder, table, "list.csv")


def test_pairs_have_names_of_their_own_and_guides_are_no_pictures(folder):
    for name in ("one/b.png", "one/b.jpg", "one/b_sem.png", "two/s.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    lines = manifest.pairs(folder / "one", folder / "two", folder / "out", {})
    assert [line.name for line in lines] == ["b.jpg-s.png", "b.png-s.png"]
    with pytest.raises(ConfigError, match="next inputs"):
        manifest.pairs(folder / "one", folder / "two", folder / "one", {})


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_manifest_is_a_fault(folder, text):
    with pytest.raises(ConfigError, match="empty"):
        read(folder, text)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_shards_that_are_none(text):
    with pytest.raises(ConfigError, match="such as 1/8"):
        manifest.parse_shard(text)


@given(st.sets(st.text(min_size=1, max_size=9), max_size=40), st.integers(1, 12))
def test_shards_are_disjoint_and_complete(names, count):
    job = Job(Path("s"), Path("o"), Config())
    lines = [manifest.Line(n, name, job) for n, name in enumerate(names)]
    parts = [manifest.shard(lines, index, count) for index in range(1, count + 1)]
    assert sorted(line.name for part in parts for line in part) == sorted(names)
    # A line's place depends on its name alone.
    for index, part in enumerate(parts, 1):
        for line in part:
            assert manifest.shard([line], index, count) == [line]
