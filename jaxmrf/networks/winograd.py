"""3×3 convolutions by Winograd's F(4×4, 3×3), with 2.25 multiplications per output, not 9.

Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4.3; the
matrices are theirs. On CPUs it pays for many channels and pictures that are not small,
since the kernel has to be transformed too (docs/experiments.md); accelerators bring their
own.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
KERNEL = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
OUTPUT = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
)


@jax.custom_vjp
def convolve(
    x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c k"]
) -> Float[Array, "n h w k"]:
    """Convolves with stride 1 and zeros around: by Winograd on CPUs, else directly.

    The result differs from a direct convolution by about 1e-5 of its largest value.
    """
    return lax.platform_dependent(x, kernel, cpu=_convolve, default=direct)


def direct(
    x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c k"], padding: str = "SAME"
) -> Float[Array, "n _ _ k"]:
    """Convolves with stride 1, and zeros around unless `padding` is ``VALID``, by XLA."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=lax.Precision.HIGHEST,
    )


def _forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return convolve(x, kernel), (x, kernel)


def _backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = saved
    # The gradient of the input is a convolution too, with the kernel turned round.
    turned = kernel[::-1, ::-1].transpose(0, 1, 3, 2)
    _, by_kernel = jax.vjp(lambda kernel: direct(x, kernel), kernel)
    return convolve(gradient, turned), by_kernel(gradient)[0]


convolve.defvjp(_forward, _backward)


@jax.jit  # layers of the same shape are traced and lowered once
def _convolve(x: Array, kernel: Array) -> Array:
    count, height, width, channels = x.shape
    rows, columns = -(-height // 4), -(-width // 4)
    after = (4 * rows + 1 - height, 4 * columns + 1 - width)
    padded = jnp.pad(x, ((0, 0), (1, after[0]), (1, after[1]), (0, 0)))
    # Tile (i, j) of 6×6 starts at (4 i, 4 j); slice a of `tall` is row a of all tiles.
    tall = [lax.slice_in_dim(padded, a, a + 4 * rows - 3, 4, axis=1) for a in range(6)]
    tall = _combine(INPUT, tall, axis=0)
    tiles = [lax.slice_in_dim(tall, b, b + 4 * columns - 3, 4, axis=3) for b in range(6)]
    tiles = _combine(INPUT, tiles, axis=1).reshape(36, -1, channels)

    kernels = [_combine(KERNEL, [kernel[a, b] for a in range(3)], axis=0) for b in range(3)]
    kernels = _combine(KERNEL, kernels, axis=1).reshape(36, channels, -1)
    products = lax.dot_general(
        tiles, kernels, (((2,), (1,)), ((0,), (0,))), precision=lax.Precision.HIGHEST
    )
    products = products.reshape(6, 6, count, rows, columns, -1)
    tall = _combine(OUTPUT, list(products), axis=0)
    whole = _combine(OUTPUT, [tall[:, b] for b in range(6)], axis=4)
    whole = whole.transpose(1, 2, 0, 3, 4, 5).reshape(count, 4 * rows, 4 * columns, -1)
    return whole[:, :height, :width]


def _combine(matrix: np.ndarray, parts: list[Array], axis: int) -> Array:
    """Returns the sums of `parts` with the weights in each row, stacked.

    Of `lax` alone: of a run's first call a good part is tracing this.
    """
    sums = []
    for row in matrix:
        terms = (
            part if weight == 1 else lax.mul(part, float(weight))
            for weight, part in zip(row, parts, strict=True)
            if weight
        )
        sums.append(functools.reduce(lax.add, terms))
    return jnp.stack(sums, axis=axis)
