"""Kernels against torchvision, where both define the same operation (extra `bench`)."""

import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from torchvision.transforms.v2 import InterpolationMode, functional  # noqa: E402

from ad_jax.augment import CATALOGUE  # noqa: E402
from ad_jax.augment.geometry import Affine  # noqa: E402
from ad_jax.augment.noise import blur_radius  # noqa: E402

SIDE, LINEAR = 32, InterpolationMode.BILINEAR
# Smooth, so that interpolation at float32 coordinates cannot differ by much.
IMAGE = np.float32(
    0.5
    + 0.4
    * np.sin(
        np.mgrid[:SIDE, :SIDE].transpose(1, 2, 0)[..., [0, 1, 0]] * [0.3, 0.2, 0.15] + [0, 1, 2]
    )
)
TURN = 17.0


def blurred(image):
    size = 2 * blur_radius((SIDE, SIDE, 3)) + 1
    return functional.gaussian_blur(image, [size, size], [1.2, 1.2])


# name -> argument of our kernel, the same of torchvision, whether only the inside is compared
SAME = {
    "horizontal_flip": ((), functional.horizontal_flip, False),
    "vertical_flip": ((), functional.vertical_flip, False),
    "brightness": (1.3, lambda x: functional.adjust_brightness(x, 1.3), False),
    "contrast": (0.6, lambda x: functional.adjust_contrast(x, 0.6), False),
    "saturation": (1.7, lambda x: functional.adjust_saturation(x, 1.7), False),
    "hue": (0.2, lambda x: functional.adjust_hue(x, 0.2), False),
    "gamma": (1.6, lambda x: functional.adjust_gamma(x, 1.6), False),
    "greyscale": ((), lambda x: functional.rgb_to_grayscale(x, 3), False),
    "invert": ((), functional.invert, False),
    "blur": (1.2, blurred, False),
    "rotate": (TURN, lambda x: functional.rotate(x, TURN, LINEAR), True),
    "affine": (
        Affine(scale=1.1, shear=8.0, angle=TURN),
        lambda x: functional.affine(x, -TURN, [0, 0], 1.1, [-8.0, 0.0], LINEAR),
        True,
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_equal_to_torchvision(name):
    argument, theirs, inside = SAME[name]
    if isinstance(argument, float):
        argument = jnp.float32(argument)
    ours, _ = CATALOGUE[name].apply(jnp.asarray(IMAGE), argument, jnp.asarray(IMAGE))
    expected = theirs(torch.from_numpy(IMAGE.transpose(2, 0, 1).copy())).numpy().transpose(1, 2, 0)
    rows = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    where = (rows**2).sum(0) < (SIDE * 0.3) ** 2 if inside else np.ones((SIDE, SIDE), bool)
    np.testing.assert_allclose(np.asarray(ours)[where], expected[where], atol=2e-3)
