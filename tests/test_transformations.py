"""The blocks about jit, grad and vmap in docs/research.md run as they are, and are right."""

import re
from pathlib import Path

import numpy as np

RESEARCH = Path(__file__).resolve().parent.parent / "docs" / "research.md"


def blocks():
    """Returns the blocks of Python of the section."""
    sections = re.split(r"^## ", RESEARCH.read_text("utf-8"), flags=re.M)
    (section,) = (text for text in sections if text.startswith("jit, grad and vmap"))
    return re.findall(r"^```python\n(.*?)^```", section, re.M | re.S)


def test_the_blocks_of_transformations_run_as_pasted(capsys):
    names = {}
    for block in blocks():
        exec(block, names)
    value, picture, content, factors = (
        names[name] for name in ("value", "picture", "content", "term_weights")
    )
    slope = np.linalg.norm(names["by_picture"])
    direction, step = names["by_picture"] / slope, 0.01
    higher, lower = (
        names["energy_of"](picture + way * direction, content, factors) for way in (step, -step)
    )
    np.testing.assert_allclose((higher - lower) / (2 * step), slope, rtol=0.05)
    # The energy is linear in its weights, of which those of the terms are three.
    by_weights = names["by_weights"]
    parts = [by_weights.content * factors.content, by_weights.tv * factors.tv]
    parts += [by_weights.style[name] * weight for name, weight in factors.style.items()]
    np.testing.assert_allclose(sum(parts), value, rtol=1e-4)
    np.testing.assert_allclose(names["of_each"][0], value, rtol=1e-4)
    np.testing.assert_allclose(names["of_contents"][1], value, rtol=1e-4)
    assert "(2, 22, 22) patches, mean cosine" in capsys.readouterr().out
