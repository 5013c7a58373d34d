"""Many pairs at once: what a single transfer gives, and nothing lost where one fails."""

import itertools

import numpy as np
import pytest
from PIL import Image

import jaxmrf
from jaxmrf.core.run import lanes
from jaxmrf.errors import ConfigError, ImageError, PairsError
from tests.common import BRIEFLY, picture, toy_network

TOY = toy_network()
QUICK = BRIEFLY | {"network": TOY}
CONTENTS = [np.asarray(picture(seed, 24, 32)) for seed in range(3)]
TALL = np.asarray(picture(4, 32, 24))
STYLE = np.asarray(picture(5, 24, 32))


@pytest.mark.parametrize("count", [None, 2])
def test_each_result_is_that_of_a_single_transfer(count):
    own = {"content": TALL, "style": [STYLE, CONTENTS[0]], "preset": "fine", "seed": 3}
    pairs = [(CONTENTS[0], STYLE), own, (CONTENTS[1], STYLE), [CONTENTS[2], STYLE]]
    order = [0, 2, 3, 1]  # those of a program together
    if count is None:  # one program is enough
        pairs, order = [pair for pair in pairs if pair is not own], [0, 1, 2]
    seen = {}
    found = jaxmrf.transfer_many(
        iter(pairs), lanes=count, callback=seen.setdefault, anchor=0.6, **QUICK
    )
    options = QUICK | {"anchor": 0.6}
    singles = [
        jaxmrf.transfer(*pair, **options) if pair is not own else jaxmrf.transfer(**own, **options)
        for pair in pairs
    ]
    assert list(seen) == order
    for index, (result, single) in enumerate(zip(found, singles, strict=True)):
        assert seen[index] is result
        np.testing.assert_allclose(result.image, single.image, atol=2e-3)
        assert result.progress.value == pytest.approx(single.progress.value, rel=0.01)
        assert result.record == single.record


def test_sides_are_rounded_up_to_share_programs(monkeypatch):
    keys, run = [], lanes.run

    def noted(some_lanes, key, *more, **named):
        keys.append(key)
        return run(some_lanes, key, *more, **named)

    monkeypatch.setattr(lanes, "run", noted)
    transparent = np.dstack([CONTENTS[0], np.ones((24, 32), np.float32)])
    transparent[:, :9, 3] = 0
    pairs = [(transparent, STYLE), (CONTENTS[1][:22], STYLE)]
    found = jaxmrf.transfer_many(pairs, lanes=2, bucket=16, **QUICK)
    assert [key.plan.shapes for key in keys] == [((32, 32),)]
    assert [result.image.shape for result in found] == [(24, 32, 3), (22, 32, 3)]
    assert (found[0].alpha.shape, found[1].alpha) == ((24, 32), None)


def test_faults_of_all_pairs_are_told_before_anything_is_painted(tmp_path, monkeypatch):
    monkeypatch.setattr(lanes, "run", None)  # a call of it fails
    pairs = [
        (CONTENTS[0], STYLE),
        (tmp_path / "nowhere.png", STYLE),
        {"content": CONTENTS[1], "style": STYLE, "achor": 0.5},
        {"content": CONTENTS[1], "style": STYLE * 255},
        {"style": STYLE},
        (CONTENTS[0], STYLE, STYLE),
        "ab",
        {"content": CONTENTS[1], "style": STYLE, "mask": np.zeros((24, 32))},
        {"content": CONTENTS[1], "style": STYLE, "levels": 3, "iterations": (1, 1, 1, 1)},
    ]
    with pytest.raises(ConfigError) as caught:
        jaxmrf.transfer_many(pairs, **QUICK)
    expected = [
        "pair 1: there is no file",
        "pair 2: there is no option 'achor'; did you mean 'anchor'?",
        "pair 3: style has values from 0 to 255",
        "pair 4: the content is missing",
        "pair 5: it must be a content and a style",
        "pair 6: it must be a content and a style",
        "pair 7: the mask is black everywhere",
        "pair 8: iterations has 4 numbers for 3 levels",
    ]
    for line, start in zip(str(caught.value).splitlines(), expected, strict=True):
        assert line.startswith(start)
    many = [(CONTENTS[0], STYLE * 255)] * 30
    with pytest.raises(ConfigError, match=r"and 10 more$"):
        jaxmrf.transfer_many(many, **QUICK)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"lanes": 0}, "lanes is 0; it must be at least 1"),
        ({"bucket": 0}, "bucket is 0; it must be at least 1"),
        ({"achor": 1}, "there is no option 'achor'"),
    ],
)
def test_what_concerns_all_pairs_is_told_once(more, message):
    with pytest.raises(ConfigError, match=message) as caught:
        jaxmrf.transfer_many([(CONTENTS[0], STYLE)] * 2, **QUICK, **more)
    assert "pair" not in str(caught.value)


def test_no_pairs_are_no_results():
    assert jaxmrf.transfer_many([], **QUICK) == []


def test_what_fails_on_the_way_loses_nothing_else(tmp_path):
    Image.fromarray(np.uint8(CONTENTS[0] * 255)).save(tmp_path / "cut.jpg", quality=95)
    whole = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) * 4 // 5])
    damaged = (tmp_path / "cut.jpg", STYLE)
    infinite = {"content": CONTENTS[1], "style": STYLE, "style_weight": 3e38, "tv_weight": 3e38}
    pairs, seen = [damaged, (CONTENTS[0], STYLE), infinite, (CONTENTS[2], STYLE)], []
    with pytest.raises(PairsError) as caught:
        jaxmrf.transfer_many(
            pairs, lanes=2, callback=lambda index, result: seen.append(index), **QUICK
        )
    error = caught.value
    assert seen == [1, 3]
    assert [result is None for result in error.results] == [True, False, True, False]
    assert isinstance(error.errors[0], ImageError)
    assert isinstance(error.errors[2], jaxmrf.NonFiniteEnergyError)
    first, *lines = str(error).splitlines()
    assert first == "2 of 4 pairs were not painted; `results` of this error has the others"
    assert lines[0].startswith("pair 0: cannot read the picture")
    assert lines[1].startswith("pair 2: the energy is not finite")
    single = jaxmrf.transfer(*pairs[3], **QUICK)
    np.testing.assert_allclose(error.results[3].image, single.image, atol=2e-3)


def test_out_of_memory_halves_the_lanes(monkeypatch):
    run, counts = lanes.run, []

    def greedy(some_lanes, *more, **named):
        counts.append(len(some_lanes))
        if len(some_lanes) > 2:
            raise MemoryError
        return run(some_lanes, *more, **named)

    monkeypatch.setattr(lanes, "run", greedy)
    pairs = [(content, STYLE) for content in itertools.islice(itertools.cycle(CONTENTS), 5)]
    found = jaxmrf.transfer_many(pairs, lanes=4, **QUICK)
    assert counts == [4, 2, 2, 2]
    np.testing.assert_array_equal(found[0].image, found[3].image)


def test_not_enough_memory_for_one_pair_is_told(monkeypatch):
    def greedy(*_, **__):
        raise MemoryError

    monkeypatch.setattr(lanes, "run", greedy)
    with pytest.raises(PairsError, match="pair 0: there is not enough memory for one picture"):
        jaxmrf.transfer_many([(CONTENTS[0], STYLE)], **QUICK)
