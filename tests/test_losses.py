import jax
import jax.numpy as jnp
import numpy as np

from jaxmrf.core.losses import terms


def test_content_is_the_sum_of_squared_differences():
    generator = np.random.default_rng(0)
    a, b = (jnp.asarray(generator.random((4, 5, 6), np.float32)) for _ in range(2))
    naive = sum((x - y) ** 2 for x, y in zip(np.ravel(a), np.ravel(b), strict=True))
    np.testing.assert_allclose(terms.content_term(a, b), naive, rtol=1e-5)


def test_total_variation_is_the_loop_over_neighbors():
    image = np.random.default_rng(0).random((5, 4, 3), np.float32)
    naive = 0.0
    for y in range(5):
        for x in range(4):
            if y + 1 < 5:
                naive += ((image[y + 1, x] - image[y, x]) ** 2).sum()
            if x + 1 < 4:
                naive += ((image[y, x + 1] - image[y, x]) ** 2).sum()
    np.testing.assert_allclose(terms.total_variation(jnp.asarray(image)), naive, rtol=1e-5)


def test_gradients_vanish_at_the_known_minima():
    features = np.random.default_rng(0).random((4, 5, 6), np.float32)
    squares, ones = (features**2).sum(axis=-1), np.ones((4, 5), np.float32)
    features, flat, squares, ones = map(
        jnp.asarray, (features, np.full((5, 4, 3), 0.3, np.float32), squares, ones)
    )
    for term, arguments in (
        (terms.content_term, (features, features)),
        (terms.total_variation, (flat,)),
        (terms.mrf, (features, features, squares, ones)),
    ):
        value, gradient = jax.jit(jax.value_and_grad(term))(*arguments)
        np.testing.assert_allclose(value, 0, atol=1e-4)
        assert not np.any(gradient)
