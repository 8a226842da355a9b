"""The network's shapes and its convolution; everything compiled for CPU, CUDA and TPU."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from ad_jax.alignment import dsv
from ad_jax.augment import CATALOGUE
from ad_jax.backbone import BACKBONES, SMALLEST_SIDE, encoder, patches
from ad_jax.errors import InputError

PLATFORMS = ("cpu", "cuda", "tpu")


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [(8, 8), (7, 7), (6, 9), (1, 2)])
def test_patches_times_kernel_is_a_convolution(side, stride):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *side, 3)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 3, 5)).astype(np.float32)
    expected = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    got = patches(x, stride) @ kernel.reshape(27, 5)
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "sides"),
    [((16, 16, 1), [(8, 8), (4, 4)]), ((32, 32, 3), [(16, 16), (8, 8), (4, 4)])]
    + [((17, 20, 3), [(9, 10), (5, 5)])],
)
def test_outputs_have_their_documented_shapes(shape, sides, key):
    network = encoder(shape, classes=3, width=8)
    params = jax.jit(network.init)(key)
    out = jax.jit(network.apply)(params, jnp.full((2, *shape), 0.5))
    assert [stage.shape[1:3] for stage in out.stages] == sides
    assert [stage.shape[3] for stage in out.stages] == [8 * 2**i for i in range(len(sides))]
    assert out.embedding.shape == (2, out.stages[-1].shape[3])
    assert out.logits.shape == (2, 3)
    np.testing.assert_allclose(out.embedding, out.stages[-1].mean((1, 2)), rtol=1e-5, atol=1e-6)


def test_samples_of_a_batch_do_not_touch_each_other(key):
    network = encoder((16, 16, 1), classes=2, width=8)
    params, apply = jax.jit(network.init)(key), jax.jit(network.apply)
    x = jax.random.uniform(jax.random.fold_in(key, 1), (3, 16, 16, 1))
    whole, others_black = apply(params, x), apply(params, x.at[::2].set(0.0))
    np.testing.assert_allclose(whole.embedding[1], others_black.embedding[1], atol=1e-6)
    np.testing.assert_allclose(whole.logits[1], others_black.logits[1], atol=1e-6)


@pytest.mark.parametrize("shape", [(15, 15, 3), (64, 8, 1)])
def test_small_images_are_refused_with_the_way_out(shape):
    with pytest.raises(InputError, match=rf"^images of {shape[0]} x {shape[1]} px [^\n]*size=16"):
        encoder(shape, classes=2)
    encoder((SMALLEST_SIDE, SMALLEST_SIDE, 1), classes=2)


def test_a_sample_that_is_no_image_is_refused():
    with pytest.raises(InputError, match=r"^the encoder takes images[^\n]*\(100,\)$"):
        encoder((100,), classes=2)


@pytest.mark.parametrize("name", BACKBONES)
def test_networks_can_be_built_inside_a_trace(name, key):
    def embed(k, x):
        network = BACKBONES[name]((16, 16, 1), 2, 8)
        return network.apply(network.init(k), x).embedding

    assert jax.eval_shape(embed, key, jnp.zeros((2, 16, 16, 1))).shape == (2, 16)


# ---- no operation is special to one device ----


def lowers(function, *arguments):
    exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(*arguments)
    assert exported.platforms == PLATFORMS


@pytest.mark.parametrize("name", CATALOGUE)
def test_augmentations_lower_for_every_platform(name):
    entry, sample = CATALOGUE[name], jnp.zeros((16, 16, 3))

    def summed(seed, hyper, x):
        return entry.random(jax.random.key(seed), hyper, x, x)[0].sum()

    lowers(jax.value_and_grad(summed, argnums=1), 0, entry.defaults(), sample)


def test_alignment_lowers_for_every_platform():
    lowers(jax.value_and_grad(lambda z: dsv(z, z + 1.0, 2.0 * z).loss), jnp.ones((20, 4)))


def test_the_encoder_lowers_for_every_platform(key):
    network = encoder((16, 16, 1), classes=2, width=8)

    def loss(params, x):
        return network.apply(params, x).logits.sum()

    params = jax.eval_shape(network.init, key)
    lowers(jax.value_and_grad(loss), params, jnp.zeros((2, 16, 16, 1)))
