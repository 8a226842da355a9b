"""Networks: shapes, sizes and convolutions; everything compiled for CPU, CUDA and TPU."""

import functools
import math

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from ad_jax.alignment import dsv
from ad_jax.augment import CATALOGUE
from ad_jax.base.errors import InputError
from ad_jax.train.backbones import BACKBONES, SMALLEST_SIDE, Backbone, encoder, mlp, patches
from ad_jax.train.backbones.layers import cells, enlarge, pool, spread
from ad_jax.train.backbones.residual import LARGE_STEM_SIDE, SMALL_STEM_SIDE, Block

PLATFORMS = ("cpu", "cuda", "tpu")
SHAPES = {  # the smallest images a network takes, square and not, and what else it takes
    "encoder": [(16, 16, 1), (17, 22, 3)],
    "resnet18": [(16, 16, 1), (17, 22, 3)],
    "resnet18_large": [(64, 64, 1), (65, 70, 3)],
    "mlp": [(16, 16, 1), (3, 5, 3), (7,), (1,)],
    "temporal": [(16, 1)],
}
OWN = ("temporal",)  # tested in a file of its own, `test_temporal`
CASES = [(name, shape) for name, shapes in SHAPES.items() if name not in OWN for shape in shapes]
SMALLEST = [(name, SHAPES[name][0]) for name in SHAPES if name not in OWN] + [("mlp", (7,))]


def sizes(network):
    return jax.eval_shape(network.init, jax.random.key(0))


def size_of(network):
    return sum(leaf.size for leaf in jax.tree.leaves(sizes(network)))


def weights(network):
    """Weights that nothing has to be compiled for."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        scale = leaf.shape[0] ** -0.5 if leaf.ndim > 1 else 0.1
        offset = 1.0 if path[-1].key == "scale" else 0.0
        return rng.normal(offset, scale, leaf.shape).astype(leaf.dtype)

    return jax.tree.map_with_path(draw, sizes(network))


def samples(shape, n=3):
    return np.random.default_rng(1).uniform(size=(n, *shape)).astype(np.float32)


# ---- layers ----


@pytest.mark.whole
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("side", [(8, 8), (7, 7), (6, 9), (1, 2)])
def test_patches_times_kernel_is_a_convolution(side, size, stride):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *side, 3)).astype(np.float32)
    kernel = rng.normal(size=(size, size, 3, 5)).astype(np.float32)
    edge = (size // 2, size // 2)
    expected = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), (edge, edge), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    got = patches(x, size, stride) @ kernel.reshape(-1, 5)
    np.testing.assert_allclose(got, expected, atol=5e-5)


def test_patches_of_even_size_are_refused():
    with pytest.raises(ValueError, match="size is odd, got 4"):
        patches(jnp.zeros((1, 8, 8, 3)), 4, 1)


@pytest.mark.parametrize("side", [(8, 8), (7, 7), (6, 9)])
def test_pool_is_max_pooling(side):
    x = -samples((*side, 3))
    window, strides, edge = (1, 3, 3, 1), (1, 2, 2, 1), (1, 1)
    expected = jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, window, strides, ((0, 0), edge, edge, (0, 0))
    )
    np.testing.assert_array_equal(pool(x, 3, 2), expected)


def test_images_are_doubled_by_repetition_or_from_channels():
    x = samples((3, 4, 8))
    np.testing.assert_array_equal(enlarge(x, (5, 8)), x.repeat(2, 1).repeat(2, 2)[:, :5])
    got = np.asarray(spread(x, (6, 7)))
    assert got.shape == (3, 6, 7, 2)
    for i, j in [(0, 0), (5, 6), (2, 3)]:
        corner = 2 * (2 * (i % 2) + j % 2)
        np.testing.assert_array_equal(got[:, i, j], x[:, i // 2, j // 2, corner : corner + 2])


# ---- shapes and sizes ----


@pytest.mark.parametrize(
    ("shape", "sides"),
    [((16, 16, 1), [(8, 8), (4, 4)]), ((32, 32, 3), [(16, 16), (8, 8), (4, 4)])]
    + [((17, 20, 3), [(9, 10), (5, 5)])],
)
def test_stages_of_the_encoder(shape, sides):
    network = encoder(shape, classes=3, width=8)
    out = jax.eval_shape(network.apply, sizes(network), jnp.zeros((2, *shape)))
    assert [stage.shape[1:3] for stage in out.stages] == sides
    assert [stage.shape[3] for stage in out.stages] == [8 * 2**i for i in range(len(sides))]


@pytest.mark.parametrize(
    ("name", "shape", "sides"),
    [
        ("resnet18", (32, 32, 3), [(32, 32), (16, 16), (8, 8), (4, 4)]),
        ("resnet18", (17, 22, 1), [(17, 22), (9, 11), (5, 6), (3, 3)]),
        ("resnet18_large", (224, 224, 3), [(56, 56), (28, 28), (14, 14), (7, 7)]),
        ("resnet18_large", (65, 70, 3), [(17, 18), (9, 9), (5, 5), (3, 3)]),
    ],
)
def test_stages_of_resnet18(name, shape, sides):
    network = BACKBONES[name](shape, 2)
    out = jax.eval_shape(network.apply, sizes(network), jnp.zeros((2, *shape)))
    assert [s.shape for s in out.stages] == [(2, *side, 64 * 2**i) for i, side in enumerate(sides)]
    assert out.embedding.shape == (2, 512)


@pytest.mark.parametrize(
    ("name", "shape"), [(n, s) for n, s in CASES if n != "mlp"] + [("encoder", (33, 64, 1))]
)
def test_cells_are_as_many_as_positions(name, shape):
    network = BACKBONES[name](shape, 2, 8)
    out = jax.eval_shape(network.apply, sizes(network), jnp.zeros((2, *shape)))
    counts = [tuple(map(one.count, shape[:2])) for one in network.cells]
    assert counts == [stage.shape[1:3] for stage in out.stages]
    assert BACKBONES["mlp"]((16, 16, 1), 2, 8).cells == ()


@pytest.mark.parametrize(
    "steps", [[(3, 2)] * 3, [(7, 2), (3, 2), (3, 1), (3, 2)], [(3, 1), (1, 2)]]
)
def test_cells_are_where_windows_are_centred(steps):
    """The mean over windows of an image that holds its rows' numbers holds their centres."""
    x = jnp.broadcast_to(jnp.arange(64.0)[:, None], (64, 64))[None, ..., None]
    (*_, last) = cells([stride for _, stride in steps])
    for size, stride in steps:
        x = patches(x, size, stride).mean(-1, keepdims=True)
    wanted = last.first + last.stride * np.arange(last.count(64))
    inside = (wanted >= 24) & (wanted <= 40)  # no padding in any window
    assert inside.sum() > 1
    np.testing.assert_allclose(x[0, :, len(wanted) // 2, 0][inside], wanted[inside], rtol=1e-6)


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_outputs_have_their_documented_shapes(name, shape):
    x = jnp.zeros((2, *shape))
    for classes, decode in [(3, False), (3, True), (0, True)]:
        network = BACKBONES[name](shape, classes, 8, decode)
        out = jax.eval_shape(network.apply, sizes(network), x)
        assert out.embedding.shape == (2, out.stages[-1].shape[-1])
        assert out.logits.shape == (2, classes)
        assert (out.reconstruction is not None) == decode
        if decode:
            assert out.reconstruction.shape == x.shape


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_a_decoder_adds_parameters_and_changes_none(name, shape):
    plain, decoding = (sizes(BACKBONES[name](shape, 2, 8, decode)) for decode in (False, True))
    assert plain.items() < decoding.items()


def test_a_decoder_leaves_the_initialisation_as_it_was(key):
    plain, decoding = (
        jax.jit(encoder((16, 16, 1), 2, 8, decode).init)(key) for decode in (False, True)
    )
    for name, layer in plain.items():
        jax.tree.map(np.testing.assert_array_equal, layer, decoding[name])


def head_size(embedding, classes, hidden=128):
    return embedding * hidden + hidden + 2 * hidden + hidden * classes + classes


def test_size_of_the_encoder():
    network = encoder((32, 32, 3), 2, 24)
    convolutions = 9 * (3 * 24 + 24 * 48 + 48 * 96)
    expected = convolutions + 2 * (24 + 48 + 96) + head_size(96, 2)
    assert size_of(network) == expected


@pytest.mark.parametrize(
    ("name", "published"),
    [
        # torchvision's resnet18 has 11,689,512 parameters with a last matrix of 513,000; GroupNorm
        # has as many as BatchNorm. The small stem takes 9 instead of 49 positions.
        ("resnet18_large", 11_689_512 - 513_000),
        ("resnet18", 11_689_512 - 513_000 - 40 * 3 * 64),
    ],
)
def test_size_of_resnet18_as_published(name, published):
    network = BACKBONES[name]((64, 64, 3), 2)
    expected = published + head_size(512, 2)
    assert size_of(network) == expected
    stem = (49 if name == "resnet18_large" else 9) * 3 * 64
    first = 4 * 9 * 64 * 64
    others = sum(9 * (c // 2 * c + 3 * c * c) + c // 2 * c for c in (128, 256, 512))
    norms = 2 * (5 * 64 + sum(5 * c for c in (128, 256, 512)))
    assert stem + first + others + norms == published


def test_size_of_the_mlp_and_its_mirror():
    network = mlp((7,), 2, 3)
    half = 7 * 24 + 24 * 12 + 12 * 6
    expected = half + (24 + 12 + 6) + 2 * (12 + 6) + head_size(6, 2)
    assert size_of(network) == expected
    mirrored = half + (12 + 24 + 7) + 2 * (12 + 24)
    both = mlp((7,), 2, 3, decode=True)
    assert size_of(both) == expected + mirrored


# ---- what a network promises ----


@functools.cache
def built(name, shape):
    """A small network that classifies and reconstructs, with weights, compiled once."""
    network = BACKBONES[name](shape, 2, 8, True)
    return network, weights(network), jax.jit(network.apply)


@pytest.mark.parametrize(("name", "shape"), SMALLEST)
def test_embeddings_are_pooled_and_images_are_images(name, shape):
    _, params, apply = built(name, shape)
    out = jax.tree.map(np.asarray, apply(params, samples(shape)))
    pooled = out.stages[-1].mean((1, 2)) if len(shape) == 3 and name != "mlp" else out.stages[-1]
    np.testing.assert_allclose(out.embedding, pooled, rtol=1e-5, atol=1e-6)
    if len(shape) == 3:
        assert 0.0 <= out.reconstruction.min() <= out.reconstruction.max() <= 1.0


@pytest.mark.parametrize(("name", "shape"), SMALLEST)
def test_samples_of_a_batch_do_not_touch_each_other(name, shape):
    _, params, apply = built(name, shape)
    x = samples(shape)
    whole, others_black = apply(params, x), apply(params, np.stack([0.0 * x[1], x[1], 0.0 * x[1]]))
    for leaf, own in zip(jax.tree.leaves(whole), jax.tree.leaves(others_black), strict=True):
        np.testing.assert_allclose(np.asarray(leaf)[1], np.asarray(own)[1], atol=1e-5)


@pytest.mark.whole
@pytest.mark.parametrize(("name", "shape"), [("encoder", (16, 16, 1)), ("mlp", (7,))])
def test_jit_changes_nothing(name, shape):
    network, params, apply = built(name, shape)
    x = samples(shape)
    eager, jitted = network.apply(params, x), apply(params, x)
    for leaf, own in zip(jax.tree.leaves(eager), jax.tree.leaves(jitted), strict=True):
        np.testing.assert_allclose(leaf, own, rtol=1e-4, atol=2e-5)


@pytest.mark.whole
def test_jit_changes_nothing_in_what_resnet18_is_made_of():
    def both(params, x):
        return block.apply(params, pool(x, 3, 2))

    block, x = Block(8, stride=2), samples((9, 9, 8))
    params = weights(Backbone(lambda k: block.init(k, pool(x, 3, 2)), block.apply))
    np.testing.assert_allclose(both(params, x), jax.jit(both)(params, x), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(("name", "shape"), [c for c in SMALLEST if c[0] != "resnet18"])
def test_gradients_are_finite_and_descend(name, shape):
    """They reach every parameter, and are finite for constant samples, whose variance is 0.

    resnet18_large has all that resnet18 has, whose compilation would add half a minute.
    """
    network, params, _ = built(name, shape)

    def loss(params, x):
        out = network.apply(params, x)
        classified = jax.nn.logsumexp(out.logits, axis=-1) - out.logits[:, 0]
        return classified.mean() + ((out.reconstruction - x) ** 2).mean()

    @jax.jit
    def descend(params, x):
        value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(params, x)
        after = jax.tree.map(lambda p, g: p - 0.02 * g, params, gradients[0])
        finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients)]
        reached = [jnp.any(leaf != 0.0) for leaf in jax.tree.leaves(gradients)]
        return after, value, jnp.array(finite), jnp.array(reached)

    for value in (0.0, 0.5):
        _, _, finite, _ = descend(params, np.full((3, *shape), value, np.float32))
        assert np.asarray(finite).all()
    x, losses = samples(shape), []
    for _ in range(3):
        params, value, finite, reached = descend(params, x)
        assert np.asarray(finite).all() and np.asarray(reached).all()
        losses.append(float(value))
    assert losses[2] < losses[1] < losses[0]


@pytest.mark.parametrize("name", BACKBONES)
def test_networks_can_be_built_inside_a_trace(name, key):
    shape = SHAPES[name][0]

    def embed(k, x):
        network = BACKBONES[name](shape, 2, 8)
        return network.apply(network.init(k), x).embedding

    assert jax.eval_shape(embed, key, jnp.zeros((2, *shape))).shape[0] == 2


def test_the_mlp_sees_how_long_a_row_is(key):
    network = mlp((1,), 2, 8)
    x = jnp.array([[1.0], [3.0], [1e6], [-1e6]])
    embedding = jax.jit(lambda k, x: network.apply(network.init(k), x).embedding)(key, x)
    assert np.isfinite(embedding).all()
    assert np.abs(embedding[0] - embedding[1]).max() > 0.05


# ---- refusals ----


@pytest.mark.parametrize("shape", [(15, 15, 3), (64, 8, 1)])
def test_small_images_are_refused_with_the_way_out(shape):
    with pytest.raises(InputError, match=rf"^images of {shape[0]} x {shape[1]} px [^\n]*size=16"):
        encoder(shape, classes=2)
    encoder((SMALLEST_SIDE, SMALLEST_SIDE, 1), classes=2)


@pytest.mark.parametrize(
    ("name", "side"), [("resnet18", SMALL_STEM_SIDE), ("resnet18_large", LARGE_STEM_SIDE)]
)
def test_resnet18_refuses_what_its_stem_cannot_take(name, side):
    with pytest.raises(InputError, match=rf"^images of 256 x {side - 1} px [^\n]*size={side} "):
        BACKBONES[name]((256, side - 1, 3), 2)
    BACKBONES[name]((side, side, 1), 2)


@pytest.mark.parametrize("name", ["encoder", "resnet18", "resnet18_large"])
def test_a_sample_that_is_no_image_is_refused(name):
    with pytest.raises(InputError, match=rf"^the {name} takes images[^\n]*\(100,\)$"):
        BACKBONES[name]((100,), classes=2)


@pytest.mark.parametrize("shape", [(), (4, 5), (0,), (2, 3, 4, 5)])
def test_the_mlp_refuses_what_is_neither_row_nor_image(shape):
    with pytest.raises(InputError, match=r"^the mlp takes rows \[d\] or images[^\n]*flatten it$"):
        mlp(shape, 2)


@pytest.mark.parametrize("name", BACKBONES)
def test_widths_that_cannot_be_built_are_refused(name):
    with pytest.raises(InputError, match=rf"^the {name} takes a width [^\n]*, got 0: take \d+$"):
        BACKBONES[name](SHAPES[name][0], 2, 0)
    if name != "mlp":
        with pytest.raises(InputError, match=r"multiple of 8, got 20: take 24$"):
            BACKBONES[name](SHAPES[name][0], 2, 20)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_network_with_nothing_to_train_is_refused(name):
    for classes, decode in [(0, False), (-1, True)]:
        with pytest.raises(InputError, match=rf"^a network with classes={classes} [^\n]*decode"):
            BACKBONES[name](SHAPES[name][0], classes, 8, decode)


# ---- twins ----


def test_a_residual_block_is_torchs():
    """The same block in PyTorch, weights copied: `[9 c, d]` is `[d, c, 3, 3]` there."""
    torch = pytest.importorskip("torch")
    block = Block(16, stride=2)
    x = samples((7, 10, 8))
    params = weights(Backbone(lambda k: block.init(k, x), block.apply))["params"]

    def convolve(y, i, stride):
        kernel = np.asarray(params[f"Dense_{i}"]["kernel"])
        size = math.isqrt(kernel.shape[0] // y.shape[1])
        kernel = kernel.reshape(size, size, y.shape[1], 16).transpose(3, 2, 0, 1)
        y = torch.nn.functional.conv2d(y, torch.tensor(kernel), stride=stride, padding=size // 2)
        norm = {k: torch.tensor(np.asarray(v)) for k, v in params[f"GroupNorm_{i}"].items()}
        return torch.nn.functional.group_norm(y, 8, norm["scale"], norm["bias"], eps=1e-6)

    def gelu(y):
        return torch.nn.functional.gelu(y, approximate="tanh")

    y = torch.tensor(x.transpose(0, 3, 1, 2))
    inside = convolve(gelu(convolve(y, 0, 2)), 1, 1)
    expected = gelu(convolve(y, 2, 2) + inside).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(jax.jit(block.apply)({"params": params}, x), expected, atol=2e-5)


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


@pytest.mark.parametrize(("name", "shape"), SMALLEST)
def test_networks_lower_for_every_platform(name, shape):
    network = BACKBONES[name](shape, 2, 8, True)

    def loss(params, x):
        out = network.apply(params, x)
        return out.logits.sum() + out.reconstruction.sum()

    lowers(jax.value_and_grad(loss), sizes(network), jnp.zeros((2, *shape)))
