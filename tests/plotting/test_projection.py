"""The plane: PCA against a singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest

from chroma_nb.plotting.projection import project


def vectors(n: int, dimension: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    return (rng.standard_normal((n, dimension)) * np.linspace(3, 1, dimension)).astype(np.float32)


def test_pca_is_that_of_the_singular_values() -> None:
    points = vectors(400, 12)
    made = project(points)
    centred = points - points.mean(axis=0)
    _, values, axes = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    expected = centred @ axes[:2].T
    for at in range(2):
        sign = np.sign(made.coordinates[:, at] @ expected[:, at])
        assert np.allclose(made.coordinates[:, at], sign * expected[:, at], atol=2e-3)
    assert made.explained == pytest.approx((values[:2] ** 2).sum() / (values**2).sum(), rel=1e-4)


def test_it_comes_out_the_same_again_and_takes_further_points() -> None:
    points = vectors(300, 20)
    first, second = project(points), project(points.copy())
    assert np.array_equal(first.coordinates, second.coordinates)
    assert first.transform is not None
    assert np.allclose(first.transform(points[7:9]), first.coordinates[7:9], atol=1e-5)


@pytest.mark.parametrize(("n", "dimension"), [(1, 5), (2, 5), (5, 1), (3, 2)])
def test_few_points_and_few_dimensions(n: int, dimension: int) -> None:
    made = project(vectors(n, dimension))
    assert made.coordinates.shape == (n, 2)
    assert np.isfinite(made.coordinates).all()


def test_equal_points_lie_in_one_place() -> None:
    made = project(np.ones((10, 4), dtype=np.float32))
    assert np.allclose(made.coordinates, 0)
    assert made.explained == 1.0
