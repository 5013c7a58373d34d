import jax
import jax.numpy as jnp
import numpy as np

from jaxmrf.core.losses import terms


def test_content_is_the_sum_of_squared_differences():
    generator = np.random.default_rng(0)
    a, b = jnp.asarray(generator.random((2, 4, 5, 6), np.float32))
    naive = sum((x - y) ** 2 for x, y in zip(a.ravel(), b.ravel(), strict=True))
    np.testing.assert_allclose(terms.content_term(a, b), naive, rtol=1e-5)


def test_total_variation_is_the_loop_over_neighbors():
    image = jnp.asarray(np.random.default_rng(0).random((5, 4, 3), np.float32))
    naive = 0.0
    for y in range(5):
        for x in range(4):
            if y + 1 < 5:
                naive += ((image[y + 1, x] - image[y, x]) ** 2).sum()
            if x + 1 < 4:
                naive += ((image[y, x + 1] - image[y, x]) ** 2).sum()
    np.testing.assert_allclose(terms.total_variation(image), naive, rtol=1e-5)


def test_gradients_vanish_at_the_known_minima():
    features = jnp.asarray(np.random.default_rng(0).random((4, 5, 6), np.float32))
    assert not np.any(jax.grad(terms.content_term)(features, features))
    assert not np.any(jax.grad(terms.total_variation)(jnp.full((5, 4, 3), 0.3)))
    squares = (features**2).sum(axis=-1)
    ones = jnp.ones((4, 5))
    assert not np.any(jax.grad(terms.mrf)(features, features, squares, ones))
    np.testing.assert_allclose(terms.mrf(features, features, squares, ones), 0, atol=1e-4)
