"""Encoders whose weights are files: slow twins, names of tensors, where weights come from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ad_jax import features
from ad_jax.base.errors import InputError
from ad_jax.features import encoders, grids, resnet, vit
from ad_jax.store import Record
from ad_jax.train.backbones import BACKBONES

TINY_RESNET = resnet.Plan((1, 1, 1, 1), True, 4, 8)
TINY_VIT = vit.Plan(2, 16, 2, 5)
FILED = ("resnet18_frozen", "resnet50", "wide_resnet50_2", "dinov2_vits14")


def drawn(shapes, seed=0):
    """Tensors such that no layer dies or explodes."""
    generator = np.random.default_rng(seed)
    out = {}
    for name, shape in shapes.items():
        scale = np.float32(1 / np.sqrt(max(1, np.prod(shape[1:]))))
        out[name] = generator.standard_normal(shape, np.float32) * scale
        if name.endswith(("running_var", "gamma")) or len(shape) == 1 and name.endswith("weight"):
            out[name] = generator.uniform(0.5, 1.0, shape).astype(np.float32)
    return out


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of weights."""
    monkeypatch.setenv("AD_JAX_WEIGHTS", str(tmp_path))
    encoders.get.cache_clear()
    yield tmp_path
    encoders.get.cache_clear()


# ---- slow twins, in numpy and in PyTorch's order of axes ----


def scaled(images):
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    return ((images - mean) / std).transpose(0, 3, 1, 2)


def windows(x, size, stride, value):
    edge = size // 2
    x = np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)), constant_values=value)
    seen = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))
    return seen[:, :, ::stride, ::stride]


def resnet_twin(tensors, images):
    """Stages and embedding; what a block is follows from the tensors."""

    def layer(x, conv, norm, stride=1):
        kernel = tensors[f"{conv}.weight"]
        seen = windows(x, kernel.shape[-1], stride, 0.0)
        x = np.tensordot(seen, kernel, ((1, 4, 5), (1, 2, 3)))
        mean, var = (tensors[f"{norm}.running_{part}"] for part in ("mean", "var"))
        x = (x - mean) / np.sqrt(var + 1e-5) * tensors[f"{norm}.weight"] + tensors[f"{norm}.bias"]
        return x.transpose(0, 3, 1, 2)

    x = np.maximum(layer(scaled(images), "conv1", "bn1", 2), 0)
    x = windows(x, 3, 2, -np.inf).max((4, 5))
    maps = []
    for stage in (1, 2, 3, 4):
        number = 0
        while f"layer{stage}.{number}.conv1.weight" in tensors:
            name, y = f"layer{stage}.{number}.", x
            stride, deep = 2 if stage > 1 and number == 0 else 1, f"{name}conv3.weight" in tensors
            y = np.maximum(layer(y, f"{name}conv1", f"{name}bn1", 1 if deep else stride), 0)
            y = layer(y, f"{name}conv2", f"{name}bn2", stride if deep else 1)
            if deep:
                y = layer(np.maximum(y, 0), f"{name}conv3", f"{name}bn3")
            if f"{name}downsample.0.weight" in tensors:
                x = layer(x, f"{name}downsample.0", f"{name}downsample.1", stride)
            x, number = np.maximum(x + y, 0), number + 1
        maps.append(x.transpose(0, 2, 3, 1))
    return maps, maps[-1].mean((1, 2))


def cubic(x, side, axis):
    """Bicubic interpolation of one axis, value by value, as PyTorch documents its own."""

    def weight(d):
        d = abs(d)
        if d <= 1:
            return 1.25 * d**3 - 2.25 * d**2 + 1
        return -0.75 * d**3 + 3.75 * d**2 - 6 * d + 3 if d < 2 else 0.0

    x = np.moveaxis(x, axis, 0)
    out = []
    for i in range(side):
        place = (i + 0.5) / ((side + 0.1) / len(x)) - 0.5
        near = range(int(np.floor(place)) - 1, int(np.floor(place)) + 3)
        out.append(sum(weight(place - j) * x[min(max(j, 0), len(x) - 1)] for j in near))
    return np.moveaxis(np.stack(out), 0, axis)


def vit_twin(tensors, images, heads):
    """Patch tokens and class token of images whose sides are multiples of 14."""
    from scipy.special import erf, softmax

    def linear(x, name):
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    x, kernel = scaled(images), tensors["patch_embed.proj.weight"]
    seen = np.lib.stride_tricks.sliding_window_view(x, (14, 14), (2, 3))[:, :, ::14, ::14]
    x = np.tensordot(seen, kernel, ((1, 4, 5), (1, 2, 3))) + tensors["patch_embed.proj.bias"]
    count, height, width, size = x.shape
    first, own = np.split(tensors["pos_embed"], [1], axis=1)
    side = int(np.sqrt(own.shape[1]))
    own = own.reshape(side, side, size)
    if (height, width) != (side, side):
        own = cubic(cubic(own, height, 0), width, 1)
    first = np.broadcast_to(first + tensors["cls_token"], (count, 1, size))
    x = np.concatenate([first, (x + own).reshape(count, -1, size)], axis=1)
    for block in sorted({name.split(".")[1] for name in tensors if "blocks." in name}, key=int):
        name = f"blocks.{block}."
        q, k, v = np.split(linear(norm(x, f"{name}norm1"), f"{name}attn.qkv"), 3, axis=-1)
        seen = []
        for head in np.split(np.arange(size), heads):
            chances = q[..., head] @ k[..., head].swapaxes(1, 2) / np.sqrt(len(head))
            seen.append(softmax(chances, axis=-1) @ v[..., head])
        y = linear(np.concatenate(seen, axis=-1), f"{name}attn.proj")
        x = x + tensors[f"{name}ls1.gamma"] * y
        y = linear(norm(x, f"{name}norm2"), f"{name}mlp.fc1")
        y = linear(y * (1 + erf(y / np.sqrt(2))) / 2, f"{name}mlp.fc2")
        x = x + tensors[f"{name}ls2.gamma"] * y
    x = norm(x, "norm")
    return [x[:, 1:].reshape(count, height, width, size)], x[:, 0]


def assert_equal_twins(found, twin):
    maps, embedding = twin
    for ours, theirs in zip((*found.stages, found.embedding), (*maps, embedding), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("shape", [(32, 48), (45, 35)], ids=str)
@pytest.mark.parametrize("plan", [resnet.RESNET18, resnet.RESNET50], ids=["18", "50"])
def test_resnets_equal_a_slow_twin(plan, shape):
    tensors = drawn(resnet.shapes(plan))
    images = np.random.default_rng(1).random((2, *shape, 3), np.float32)
    params = resnet.fold(tensors, plan)
    found = jax.jit(lambda p, x: resnet.maps(p, x, plan))(params, images)
    assert_equal_twins(found, resnet_twin(tensors, images))


@pytest.mark.parametrize("plan", [resnet.RESNET18, resnet.RESNET50, resnet.WIDE_RESNET50_2])
def test_resnets_equal_torchvision(plan):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    models = pytest.importorskip("torchvision", reason="torchvision is not installed").models
    names = {resnet.RESNET18: "resnet18", resnet.RESNET50: "resnet50"}
    model = getattr(models, names.get(plan, "wide_resnet50_2"))().eval()
    tensors = drawn({name: tuple(t.shape) for name, t in model.state_dict().items()})
    model.load_state_dict({name: torch.from_numpy(np.asarray(t)) for name, t in tensors.items()})
    images = np.random.default_rng(1).random((1, 45, 64, 3), np.float32)
    found = resnet.maps(resnet.fold(resnet.named(tensors, plan), plan), jnp.asarray(images), plan)
    model.fc = torch.nn.Identity()
    with torch.no_grad():
        theirs = model(torch.from_numpy(scaled(images))).numpy()
    np.testing.assert_allclose(found.embedding, theirs, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("shape", [(28, 42), (70, 70)], ids=str)
def test_the_transformer_equals_a_slow_twin(shape):
    for plan in (vit.VITS14, TINY_VIT):
        tensors = drawn(vit.shapes(plan))
        images = np.random.default_rng(1).random((2, *shape, 3), np.float32)
        params = vit.fold(tensors, plan)
        found = jax.jit(lambda p, x, plan=plan: vit.maps(p, x, plan))(params, images)
        assert_equal_twins(found, vit_twin(tensors, images, plan.heads))


# ---- where they look ----


@pytest.mark.parametrize("side", [512, 517])
def test_a_resnet_sees_a_column_where_its_position_is(side):
    """By a network that only adds up: around a column what it sees is the same on either side."""
    ones = {}
    for name, shape in resnet.shapes(TINY_RESNET).items():
        ones[name] = np.full(shape, 1.0 / max(1, int(np.prod(shape[1:]))), np.float32)
        if len(shape) == 1:
            ones[name] = np.full(shape, float(name.endswith(("weight", "var"))), np.float32)
    params = resnet.fold(ones, TINY_RESNET)
    image = np.full((1, 8, side, 3), 0.7, np.float32)
    run = jax.jit(lambda x: resnet.maps(params, x, TINY_RESNET).stages)
    for stage, cell in enumerate(resnet.cells(side, TINY_RESNET)):
        there = round(side / 2 / cell.stride)
        column = image.copy()
        column[:, :, int(cell.first + there * cell.stride)] = 0.9
        one = run(column)[stage] - run(image)[stage]
        seen = np.asarray(one)[0, 0, :, 0]
        assert len(seen) == cell.count(side)
        reached = np.flatnonzero(seen > 1e-4 * seen.max())
        assert reached[0] + reached[-1] == 2 * there
        np.testing.assert_allclose(seen[reached], seen[reached[::-1]], atol=1e-4 * seen.max())


@pytest.mark.parametrize("side", [140, 150, 15])
def test_a_patch_is_centred_where_it_looks(side):
    """The centre of mass of what a patch is made of, without the blocks, which look everywhere."""
    plan = TINY_VIT._replace(depth=0)
    params = vit.fold(drawn(vit.shapes(plan)), plan)
    params["patch_embed.proj.weight"] = jnp.ones((plan.width, 3, 14, 14)) * jnp.linspace(
        -0.01, 0.02, plan.width
    ).reshape(-1, 1, 1, 1)
    (cell,) = vit.cells(side, plan)
    count = cell.count(side)
    assert count == -(-side // 14) and cell.first + (count - 1) / 2 * cell.stride == (side - 1) / 2
    there = count // 2
    slope = jax.jit(jax.grad(lambda x: vit.maps(params, x, plan).stages[0][0, 0, there, 3]))
    mass = np.asarray(slope(jnp.full((1, 14, side, 3), 0.5)))[0].sum((0, 2))
    if side > 15:  # at the border linear interpolation goes on with the last value
        found = (mass * np.arange(side)).sum() / mass.sum()
        assert found == pytest.approx(cell.first + there * cell.stride, abs=1e-3)


def built(module, plan, seed=0):
    tensors = drawn(module.shapes(plan), seed)
    return features.Encoder(
        "tiny",
        module.fold(tensors, plan),
        lambda params, images: module.maps(params, images, plan),
        lambda side: module.cells(side, plan),
        module.LAYERS,
        encoders.digest_of(tensors),
        module.SMALLEST,
    )


@pytest.mark.parametrize("module, plan", [(resnet, TINY_RESNET), (vit, TINY_VIT)])
@pytest.mark.parametrize("side", [None, 33])
def test_grids_from_the_smallest_side_on(module, plan, side):
    encoder = built(module, plan)
    side = side or encoder.smallest
    images = np.random.default_rng(0).integers(0, 255, (2, side, side + 5, 1), np.uint8)
    grid = features.encode(encoder, images).grid
    counts = tuple(features.cells(encoder, one).count(one) for one in images.shape[1:3])
    assert grid.shape[1:3] == counts and np.isfinite(np.float32(grid)).all()
    one = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    stages = jax.eval_shape(encoder.apply, encoder.params, one).stages
    assert stages[encoder.layers[-1]].shape[1] == 2 or side > encoder.smallest
    with pytest.raises(InputError, match=f"needs {encoder.smallest} px a side"):
        features.encode(encoder, images[:, 1:] if side == encoder.smallest else images[:, :9])


@pytest.mark.parametrize("module, plan", [(resnet, TINY_RESNET), (vit, TINY_VIT)])
def test_encoders_lower_for_every_platform(module, plan):
    encoder = built(module, plan)
    run = jax.jit(grids.make_grids(encoder, (32, 40, 3)))
    images = jax.ShapeDtypeStruct((2, 32, 40, 3), jnp.float32)
    export = jax.export.export(run, platforms=["cpu", "cuda", "tpu"])
    assert set(export(encoder.params, images).platforms) == {"cpu", "cuda", "tpu"}


# ---- names of tensors ----


def torchvision_names(plan):
    """All tensors of torchvision's ResNet: those that features need, counters, the classifier."""
    shapes = resnet.shapes(plan)
    counters = {n.replace("running_var", "num_batches_tracked"): () for n in shapes if "_var" in n}
    return {**shapes, **counters, "fc.weight": (1000, plan.outer * 8), "fc.bias": (1000,)}


@pytest.mark.parametrize(
    "plan, tensors, numbers",
    [
        (resnet.RESNET18, 122, 11_689_512),
        (resnet.RESNET50, 320, 25_557_032),
        (resnet.WIDE_RESNET50_2, 320, 68_883_240),
    ],
)
def test_resnets_have_the_published_tensors(plan, tensors, numbers):
    """As many as torchvision's state and as many parameters as its documentation says."""
    names = torchvision_names(plan)
    assert len(names) == tensors
    learned = {name: shape for name, shape in names.items() if name.endswith(("weight", "bias"))}
    assert sum(int(np.prod(shape)) for shape in learned.values()) == numbers


def test_the_transformer_has_the_published_tensors():
    """22,056,576 with the mask token, which features do not need: DINOv2's "21 M"."""
    shapes = vit.shapes(vit.VITS14)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 22_056_576 - 384


def idle_in(module, plan, tensors):
    """Names of tensors whose change leaves all params as they are."""
    before = jax.tree.leaves(module.fold(module.named(tensors, plan), plan))
    idle = []
    for name in module.shapes(plan):
        changed = {**tensors, name: tensors[name] + 1}
        after = jax.tree.leaves(module.fold(module.named(changed, plan), plan))
        if all(np.array_equal(one, other) for one, other in zip(before, after)):
            idle.append(name)
    return idle


def test_every_tensor_is_used_and_none_too_many():
    plan = resnet.Plan((1, 1, 1, 1), False, 4, 4)
    tensors = drawn(torchvision_names(plan))
    assert not idle_in(resnet, plan, tensors)
    deeper = drawn(torchvision_names(plan._replace(repeats=(1, 1, 2, 1))))
    with pytest.raises(InputError, match="hold the tensor layer3.1.conv1.weight, which is none"):
        resnet.named(deeper, plan)
    with pytest.raises(InputError, match="lack the tensor layer3.1.conv1.weight"):
        resnet.named(tensors, plan._replace(repeats=(1, 1, 2, 1)))
    with pytest.raises(InputError, match=r"layer1.0.conv1.weight has the shape \(4, 64, 3, 3\)"):
        resnet.named(tensors, TINY_RESNET)
    tensors = drawn(vit.shapes(TINY_VIT))
    assert not idle_in(vit, TINY_VIT, tensors)
    with pytest.raises(InputError, match="hold the tensor register_tokens"):
        vit.named({**tensors, "register_tokens": np.zeros((1, 4, 16))}, TINY_VIT)
    with pytest.raises(InputError, match=r"pos_embed has the shape \(1, 9, 16\) where the network"):
        vit.named({**tensors, "pos_embed": np.zeros((1, 9, 16))}, TINY_VIT)


def by_hugging_face(tensors):
    """DINOv2's tensors under the names that Hugging Face's transformers give them."""
    out = {
        "embeddings.cls_token": tensors["cls_token"],
        "embeddings.mask_token": np.zeros((1, tensors["cls_token"].shape[-1]), np.float32),
        "embeddings.position_embeddings": tensors["pos_embed"],
        "layernorm.weight": tensors["norm.weight"],
        "layernorm.bias": tensors["norm.bias"],
    }
    for part in ("weight", "bias"):
        out[f"embeddings.patch_embeddings.projection.{part}"] = tensors[f"patch_embed.proj.{part}"]
    for i in {name.split(".")[1] for name in tensors if name.startswith("blocks.")}:
        ours, theirs = f"blocks.{i}.", f"encoder.layer.{i}."
        for n in "12":
            out[f"{theirs}layer_scale{n}.lambda1"] = tensors[f"{ours}ls{n}.gamma"]
        for part in ("weight", "bias"):
            query, key, value = np.split(tensors[f"{ours}attn.qkv.{part}"], 3)
            for name, one in {"query": query, "key": key, "value": value}.items():
                out[f"{theirs}attention.attention.{name}.{part}"] = one
            out[f"{theirs}attention.output.dense.{part}"] = tensors[f"{ours}attn.proj.{part}"]
            for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                out[f"{theirs}{name}.{part}"] = tensors[f"{ours}{name}.{part}"]
    return out


def test_hugging_faces_names_mean_the_same_weights():
    tensors = drawn(vit.shapes(TINY_VIT))
    theirs = by_hugging_face(tensors)
    found = vit.named(theirs, TINY_VIT)
    assert encoders.digest_of(found) == encoders.digest_of(vit.named(tensors, TINY_VIT))
    for name in theirs:
        if "mask_token" not in name:
            with pytest.raises(InputError, match="lack the tensor"):
                vit.named({k: v for k, v in theirs.items() if k != name}, TINY_VIT)


# ---- where weights come from ----


def test_no_encoder_has_the_name_of_another_network():
    assert not set(encoders.ENCODERS) & set(BACKBONES)
    assert set(encoders.ENCODERS) == {*encoders.PACKAGES, *encoders.RELEASES, *encoders.PLAIN}
    assert set(FILED) == set(encoders.RELEASES)


@pytest.mark.parametrize("name", FILED)
def test_weights_that_lack_are_named(name, monkeypatch, folder):
    with pytest.raises(InputError, match=rf"{folder} holds no {name}.safetensors \(or .npz") as no:
        features.get(name)
    assert "save those of " in str(no.value) and "\n" not in str(no.value)
    monkeypatch.setenv("AD_JAX_WEIGHTS", str(folder / "nowhere"))
    with pytest.raises(InputError, match="nowhere is no folder; name one that holds weights"):
        features.get(name)
    monkeypatch.delenv("AD_JAX_WEIGHTS")
    with pytest.raises(InputError, match=f"AD_JAX_WEIGHTS names no folder with {name}.safe"):
        features.get(name)


def test_a_file_goes_before_the_package(folder):
    packaged = features.get("efficientnet_lite0")
    path = encoders.weights_file("efficientnet_lite0")
    tensors = encoders.weights.read(path)
    tensors["_fc.bias"] = tensors["_fc.bias"] + 1
    np.savez(folder / "efficientnet_lite0.npz", **tensors)
    encoders.get.cache_clear()
    assert features.get("efficientnet_lite0").digest != packaged.digest


def test_images_are_encoded_with_the_weights_of_a_file(folder, tmp_path, monkeypatch):
    np.savez(folder / "resnet18_frozen.npz", **drawn(torchvision_names(resnet.RESNET18)))
    images = np.random.default_rng(0).integers(0, 255, (3, 40, 33, 3), np.uint8)
    record = Record(tmp_path / "record")
    first = features.encode(features.get("resnet18_frozen"), images, record)
    assert first.grid.shape == (3, 5, 5, 128 + 256) and first.embedding.shape == (3, 512)
    monkeypatch.setattr(grids, "in_blocks", lambda *_: pytest.fail("encoded again"))
    again = features.encode(features.get("resnet18_frozen"), images, record)
    np.testing.assert_array_equal(first.grid, again.grid)
    np.savez(folder / "resnet50.npz", **drawn({"conv1.weight": (3,)}))
    with pytest.raises(InputError, match=r"resnet50.npz does not fit resnet50: the tensor conv1"):
        features.get("resnet50")
