import collections
import dataclasses
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxmrf.batch import manifest
from jaxmrf.batch.folder import pictures
from jaxmrf.core.config import Config
from jaxmrf.errors import ConfigError
from jaxmrf.files import decode
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


def test_of_very_many_faults_the_first_are_told(folder):
    rows = [{"content": "a.png", "style": "b.png", "output": f"{n}.gif"} for n in range(150)]
    with pytest.raises(ConfigError) as error:
        read(folder, "\n".join(map(json.dumps, rows)))
    _, *told, last = str(error.value).splitlines()
    assert len(told) == 100
    assert told[0].startswith("line 1: output '0.gif' must end in")
    assert last == "and 50 more"


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
        ({"output": "\ud800.png"}, "cannot be the name of a file"),
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


def test_outputs_spread_over_folders_by_their_names_alone():
    names = [f"{number // 500}-{number % 500}.png" for number in range(50_000)]
    sizes = collections.Counter(manifest.in_folder(name, 256)[:2] for name in names)
    assert len(sizes) == 256
    assert max(sizes.values()) < 1.3 * len(names) / 256
    digits = [len(manifest.in_folder("a.png", count)) - 6 for count in (1, 256, 257, 65_536)]
    assert digits == [2, 2, 3, 4]


def test_pictures_of_a_folder_are_all_that_can_be_read(folder, monkeypatch):
    monkeypatch.setattr(decode, "reads_heif", lambda: True)
    for name in ("a.GIF", "b.avif", "c.jp2", "d.heic", "e.txt", "f.jpeg", "two/style.bmp"):
        (folder / "wide" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "wide" / name).touch()
    lines = manifest.pairs(folder / "wide", folder / "wide" / "two", folder / "out", {})
    assert [line.name for line in lines] == [
        "a-style.png", "b-style.png", "c-style.png", "d-style.png", "f-style.png",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_manifest_is_a_fault(folder, text):
    with pytest.raises(ConfigError, match="empty"):
        read(folder, text)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_shards_that_are_none(text):
    with pytest.raises(ConfigError, match="such as 1/8"):
        manifest.parse_shard(text)


def test_64_shards_of_a_million_lines_differ_by_two_percent_at_most():
    names = (f"{number // 1000}-{number % 1000}.png" for number in range(10**6))
    sizes = collections.Counter(manifest._hash(name) % 64 for name in names)
    assert sizes.total() == 10**6
    for size in (min(sizes.values()), max(sizes.values())):
        assert abs(size / (10**6 / 64) - 1) < 0.02


@given(st.sets(st.text(min_size=1, max_size=9), max_size=40), st.integers(1, 12))
def test_shards_are_disjoint_and_complete(names, count):
    job = Job(Path("s"), Path("o"), Config())
    lines = [manifest.Line(n, name, job) for n, name in enumerate(names)]
    parts = [manifest.shard(lines, index, count) for index in range(1, count + 1)]
    assert sorted(line.name for part in parts for line in part) == sorted(names)
    # A line's place depends on its name alone.
    for index, part in enumerate(parts, 1):
        for line in part:
            assert list(manifest.shard([line], index, count)) == [line]


GERMAN = (
    "content ; style;output;size;content-weight;iterations;tileable\n"
    'a.png;"b.png;c.png"; x.png ;256.0;0,5;3,2;FALSE\n'
    ";;;;;;\n"
    "a.png;b.png;y.png;;1,5E-1;;\n"
    "; ;;;;;\n"
)
SEVERAL = dataclasses.replace(Config(), size=256, content_weight=0.5, iterations=(3, 2))


@pytest.mark.parametrize("mark", [";", "\t", "|"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_are_read_as_spreadsheets_write_them(folder, mark, ends, encoding):
    table = GERMAN.replace(";", mark).replace(f"b.png{mark}", "b.png;", 1)  # a list of styles
    table = f"sep={mark}\n{table}" if mark == "|" else table
    name = "list.txt" if mark == "\t" else "list.csv"
    (folder / name).write_bytes(table.replace("\n", ends).encode(encoding))
    first, second = manifest.read(folder / name, folder / "out", {})
    assert first.job.styles == (folder / "b.png", folder / "c.png")
    assert (first.name, first.job.config) == ("x.png", SEVERAL)
    assert (second.name, second.job.config.content_weight) == ("y.png", 0.15)
    assert second.number == first.number + 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_json_lines_with_a_mark_and_empty_lines(folder, encoding):
    row = {"content": "a.png", "style": "b.png", "output": "ä.png", "size": 64.0}
    text = f"\r\n{json.dumps(row, ensure_ascii=False)}\r\n\r\n"
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    (folder / "list.txt").write_bytes((mark + text).encode(encoding))
    [line] = manifest.read(folder / "list.txt", folder / "out", {})
    assert (line.number, line.name, line.job.config.size) == (2, "ä.png", 64)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("content,stlye,output", ["no option 'stlye'; did you mean 'style'", "no column 'style'"]),
        ("content,style,output,size,size", ["the column 'size' is there 2 times"]),
        ("content,style,output,tv-weight,tv_weight", ["'tv_weight' is there 2 times"]),
        ("style,output", ["no column 'content'; for textures"]),
        ("content,output,trace", ["trace is an option of single", "no column 'style'"]),
        ("content;style;output;device", ["device can only be given on the command line"]),
    ],
)
def test_faults_of_the_header_are_told_once(folder, header, told):
    with pytest.raises(ConfigError) as error:
        read(folder, f"{header}\n" + "a.png,b.png,x.png\n" * 9, "list.csv")
    lines = str(error.value).splitlines()[1:]
    assert len(lines) == len(told)
    for line, part in zip(lines, told, strict=True):
        assert line.startswith("line 1: ")
        assert part in line


def test_columns_may_be_left_to_the_options_of_all_lines(folder):
    [line] = read(folder, "style,output\nb.png,x.png\n", "list.csv", size="64x32")
    assert line.job.shape == (32, 64)
    [line] = read(folder, "style,output,size\nb.png,x.png,64x32\n", "list.csv")
    assert line.job.shape == (32, 64)
    [line] = read(folder, "output\nx.png\n", "list.csv", content="a.png", style="b.png")
    assert line.job.content == folder / "a.png"


def test_cells_without_a_name_are_told_once_and_empty_ones_are_none(folder):
    table = "size,content,style,output,,\n,a.png,b.png,x.png,,\n,,,,,\n64,a.png,b.png,y.png,,,,\n"
    assert [line.number for line in read(folder, table, "list.csv")] == [2, 4]
    rows = "".join(f"{number},a.png,b.png,{number}.png\n" for number in range(3))
    with pytest.raises(ConfigError) as error:
        read(folder, f",content,style,output\n{rows}", "list.csv")
    assert str(error.value).splitlines()[1:] == ["line 2: column 1 has no name above it"]
    with pytest.raises(ConfigError, match="line 2: more cells than the first line has names"):
        read(folder, "content,style,output\na.png,b.png,x.png,64", "list.csv")


def test_a_decimal_comma_between_commas_is_refused(folder):
    table = 'content,style,output,anchor\na.png,b.png,x.png,"0,5"\n'
    with pytest.raises(ConfigError, match="it takes numbers, with a point before decimals"):
        read(folder, table, "list.csv")


@pytest.mark.parametrize("name", ["list.csv", "list.jsonl"])
def test_a_list_that_is_no_utf_8_is_one_line(folder, name):
    (folder / name).write_bytes("content,style,output\na.png,b.png,caf\xe9.png".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"it is not UTF-8 text \(line 2\); save it as") as error:
        manifest.read(folder / name, folder / "out", {})
    assert "\n" not in str(error.value)
    (folder / name).write_bytes("content,style,output\n".encode("utf-16-le"))  # without a mark
    with pytest.raises(ConfigError, match="not UTF-8"):
        manifest.read(folder / name, folder / "out", {})


def test_what_is_wrong_with_every_line_is_told_once(folder):
    rows = [{"content": "a.png", "style": "b.png", "output": f"{n}.png"} for n in range(9)]
    with pytest.raises(ConfigError) as error:
        read(folder, "\n".join(map(json.dumps, rows)), size="-1")
    assert str(error.value).splitlines()[1:] == ["every line: size is -1; it must be at least 1"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"levels": 1, "iterations": [3, 2]}, "iterations has 2 numbers for 1 level; give one"),
        ({"size": 64, "decoder_rounds": 0, "iterations": "3,2"}, "2 numbers for 1 level"),
        ({"decoder_rounds": 0, "iterations": 0}, "iterations is 0 and no decoder paints"),
        ({"style_loss": "gram", "iterations": 0}, "iterations is 0 and no decoder paints"),
    ],
)
def test_iterations_that_cannot_be_are_found_before_anything_runs(folder, row, told):
    good = {"content": "a.png", "style": "b.png", "output": "x.png", "iterations": "3,2"}
    rows = [json.dumps(line) for line in (good, {**good, "output": "y.png", **row})]
    (folder / "list.jsonl").write_text("\n".join(rows))
    with pytest.raises(ConfigError) as error:
        manifest.read(folder / "list.jsonl", folder / "out", {}, weights.load("vgg16"))
    _, line = str(error.value).splitlines()
    assert line.startswith(f"line 2: {told}") or told in line


@pytest.fixture
def mixed(folder):
    """A folder with pictures, good ones and others, and with what is none."""
    inputs = folder / "mixed"
    inputs.mkdir()
    names = ["a.PNG", "b.jfif", "b_sem.png", "c.heic", "n.txt", ".hidden", "o.mov", "p", "q.gif"]
    for name in (*names, "x" * 190 + ".png"):
        (inputs / name).touch()
    (inputs / "sub.png").mkdir()
    (inputs / "gone.png").symlink_to("nothing")
    (inputs / "circle.png").symlink_to("circle.png")
    os.mkfifo(inputs / "pipe.png")
    (inputs / os.fsdecode(b"caf\xe9.png")).touch()
    return inputs


def test_what_is_left_out_of_a_folder_is_said_and_the_rest_fails_by_itself(mixed, monkeypatch):
    monkeypatch.setattr(decode, "reads_heif", lambda: False)
    styles = mixed.parent / "styles"
    styles.mkdir()
    (styles / "s.png").touch()
    told = []
    lines = manifest.pairs(mixed, styles, mixed.parent / "out", {}, on_left_out=told.append)
    assert [line.name for line in lines[:6]] == [
        "a-s.png", "b-s.png", "caf\udce9-s.png", "circle-s.png", "gone-s.png", "q-s.png",
    ]  # fmt: skip
    assert len(lines) == 7
    assert lines[6].name.startswith("xxx")
    assert len(lines[6].name) <= manifest.LONGEST_NAME
    assert len(told) == 1
    for part in (
        f"left out of {mixed}: ",
        '1 HEIC picture, which needs pip install pillow-heif (the extra "heic") (c.heic)',
        "1 folder (sub.png)",
        "4 files that are no pictures (n.txt, o.mov, p, …)",
    ):
        assert part in told[0]


def test_a_folder_of_heic_alone_says_what_reads_them(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "reads_heif", lambda: False)
    (tmp_path / "a.HEIC").touch()
    with pytest.raises(ConfigError, match=r"no pictures in .*, only 1 HEIC picture, which needs"):
        pictures(tmp_path)


@pytest.mark.parametrize("text", ["content,style,output\na.png,b.png,x.png\n", None])
def test_a_copy_of_a_pipe_is_a_table_or_json_lines_by_its_content(text, folder, monkeypatch):
    text = text or json.dumps({"content": "a.png", "style": "b.png", "output": "x.png"})
    monkeypatch.chdir(folder)
    copy = folder / "elsewhere" / "input"
    copy.parent.mkdir()
    copy.write_text(text)
    (line,) = manifest.read(copy, folder / "out", {}, stands_for=manifest.Path("-"))
    assert line.job.content == manifest.Path("a.png")
    copy.write_text(text.replace("a.png", "nobody.png"))
    with pytest.raises(ConfigError, match=r"^- cannot be used"):
        manifest.read(copy, folder / "out", {}, stands_for=manifest.Path("-"))
