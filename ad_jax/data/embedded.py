"""Problems that come with the installed libraries: nothing to download, nothing kept on disk.

Textures: crops of scikit-image's photographs. The recipe (regions, sizes, seeds) was fixed before
anything was trained on it, and no number below was chosen by a detector's result. Digits:
scikit-learn's handwritten digits, one of them normal.
"""

import functools

import numpy as np

from ad_jax.base.errors import InputError
from ad_jax.data.problem import Problem, sealed
from ad_jax.data.samples import content_hashes, mask_of, resize, sides_of
from ad_jax.data.truth import Labels, Truth

TEXTURE_TASKS = ("brick-defect", "brick-orientation", "gravel-orientation")

SIDE = 64  # of a crop, in pixels of the photograph
_MARGIN = 46  # half the diagonal of a crop, plus the reach of the interpolation
_JITTER = 2.0  # degrees: normals turn a little too, so that resampling gives no label away
_COUNTS = {"train": 400, "held_out": 100, "target": 100}  # target: normal, and as many anomalous
_SEEDS = {"train": 1, "held_out": 2, "target": 3, "anomalous": 4, "defect": 5}

# (top, bottom, left, right) in the photograph. The bricks recede and lean outwards: both strips
# for training run the whole height at the sides, so that every scale and lean between is known.
_REGIONS = {
    "train": ((0, 512, 0, 112), (0, 512, 400, 512)),
    "held_out": ((0, 160, 112, 256), (352, 512, 256, 400)),
    "target": ((160, 512, 112, 256), (0, 352, 256, 400)),
}

_TRAIN_SHARE = 0.6  # of the normal digits
_OTHERS = 25  # digits of each other class in the target


def load_textures(
    task: str, *, size: int | str = 32, limit: int | None = None
) -> tuple[Problem, Truth]:
    """Crops of a photographed texture; anomalies are foreign patches or turned crops.

    `brick-defect`: a disc of grass, 8 to 15 px across (of the 64 of the crop), at the mean grey of
    what it covers. Grass has the stronger contrast: the darkest pixel alone finds these defects
    with AUROC .92, raw nearest neighbours with .55. `brick-orientation`,
    `gravel-orientation`: crops turned by a continuous angle, at least 20 degrees away from every
    quarter turn.

    Args:
      task: one of `TEXTURE_TASKS`.
      size: side of the samples, 8 to 64 px, or `HEIGHTxWIDTH`; crops are 64 px,
        shrunk by area averaging.
      limit: the first so many, by content, of train, held-out and target.

    Returns:
      Problem with 400 train, 100 held-out and 200 target samples `[height, width, 1]` uint8, and
      its truth, with masks for the defects.
    """
    height, width = sides_of(size)
    if not 8 <= min(height, width) <= max(height, width) <= SIDE:
        raise InputError(f"size={size} does not suit textures; give 8 to {SIDE}")
    photo, defect = task.split("-")
    shrink = functools.partial(resize, height=height, width=width)
    images = {}
    for name in ("train", "held_out", "target"):
        images[name] = _crops(_photo(photo), name, name, turned=False)
    hosts = _crops(_photo(photo), "target", "anomalous", turned=defect == "orientation")
    coverage = np.zeros((len(hosts), SIDE, SIDE, 1), np.float32)
    if defect == "defect":
        hosts, coverage = _paste_discs(hosts, _photo("grass"))
    images["target"] = np.concatenate([images["target"], hosts])
    images = {name: shrink(_to_uint8(array)) for name, array in images.items()}
    n_normal, n_anomalous = len(images["target"]) - len(hosts), len(hosts)

    def masks(row: int) -> np.ndarray | None:
        if row < n_normal:
            return np.zeros((height, width), np.uint8)
        return mask_of(shrink(coverage[row - n_normal, None])[0, :, :, 0])

    def read() -> Labels:
        anomalous = np.repeat(np.array([0, 1], np.uint8), (n_normal, n_anomalous))
        kinds = [""] * n_normal + [defect] * n_anomalous
        return Labels(anomalous, kinds, masks if defect == "defect" else None)

    # Names by content: numbers as made would put the normals first.
    rank = np.argsort(np.argsort(content_hashes(images["target"]), kind="stable"), kind="stable")
    names = [f"crop-{i:03d}" for i in rank]
    return sealed(
        train=images["train"],
        held_out=images["held_out"],
        target=images["target"],
        names=names,
        read=read,
        limit=limit,
    )


def load_digits(
    *, normal: int = 0, size: int | str = 16, limit: int | None = None, kind: str | None = None
) -> tuple[Problem, Truth]:
    """Handwritten digits (8 x 8, enlarged linearly): one digit is normal, the others anomalous.

    Args:
      normal: the normal digit, 0 to 9. The first 60 % by content train, the others are target.
      size: side of the samples in px, or `HEIGHTxWIDTH`.
      limit: the first so many, by content, of train and of target.
      kind: only this other digit in the target, beside the normals; for studies.

    Returns:
      Problem with about 107 train and 296 target samples `[height, width, 1]` uint8, and its
      truth.
    """
    from sklearn.datasets import load_digits as read_digits

    bunch = read_digits()
    digits = bunch.target
    known = [str(d) for d in range(10)]
    if str(normal) not in known:
        raise InputError(f"normal={normal} is no digit; give one of {', '.join(known)}")
    known.remove(str(normal))
    if kind is not None and str(kind) not in known:
        raise InputError(f"kind={kind} is not among the other digits: {', '.join(known)}")
    images = np.floor(bunch.images[..., None] * 255 / 16 + 0.5).astype(np.uint8)
    hashes = content_hashes(images)
    by_content = np.array(sorted(range(len(images)), key=hashes.__getitem__))
    rows = {d: by_content[digits[by_content] == d] for d in range(10)}
    normals = rows[int(normal)]
    n_train = round(_TRAIN_SHARE * len(normals))
    others = [rows[int(d)][:_OTHERS] for d in known if kind is None or d == str(kind)]
    target = np.concatenate([normals[n_train:], *others])
    images = resize(images, *sides_of(size))

    def read() -> Labels:
        kinds = ["" if d == int(normal) else str(d) for d in digits[target]]
        return Labels((digits[target] != int(normal)).astype(np.uint8), kinds)

    return sealed(
        train=images[normals[:n_train]],
        target=images[target],
        names=[f"digit-{row:04d}" for row in target],
        read=read,
        limit=limit,
        kind=kind,
    )


@functools.cache
def _photo(name: str) -> np.ndarray:
    """Photograph `[512, 512]` float64 in 0..255, shipped inside scikit-image."""
    from skimage import data

    photo = getattr(data, name)().astype(np.float64)
    photo.setflags(write=False)
    return photo


def _crops(photo: np.ndarray, region: str, seed: str, *, turned: bool) -> np.ndarray:
    """Crops `[n, SIDE, SIDE]` float64 from the parts of a region, an equal number from each.

    Every crop, normal or not, has its centre within the same margin and passes through the same
    interpolation at random sub-pixel positions: neither place nor blur tells them apart.
    """
    rng = np.random.default_rng(_SEEDS[seed])
    parts = _REGIONS[region]
    crops = []
    for top, bottom, left, right in parts:
        n = _COUNTS[region] // len(parts)
        # Only `random` is used: its stream does not change between versions of numpy.
        down, across, turn, quarter = rng.random((4, n))
        centres = np.stack(
            [
                _MARGIN + down * (bottom - top - 2 * _MARGIN),
                _MARGIN + across * (right - left - 2 * _MARGIN),
            ]
        )
        degrees = _JITTER * (2 * turn - 1)
        if turned:
            degrees = 20 + 50 * turn + 90 * np.floor(4 * quarter)
        # The part is cut out first: interpolation must not reach across a border.
        crops.append(_resample(photo[top:bottom, left:right], centres, np.deg2rad(degrees), SIDE))
    return np.concatenate(crops)


def _resample(image: np.ndarray, centres: np.ndarray, angles: np.ndarray, side: int) -> np.ndarray:
    """Squares `[n, side, side]` of an image, turned about their centres `[2, n]` (cubic spline)."""
    from scipy.ndimage import map_coordinates

    offset = np.arange(side) - (side - 1) / 2
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    rows = centres[0, :, None, None] + cos * offset[:, None] + sin * offset
    columns = centres[1, :, None, None] - sin * offset[:, None] + cos * offset
    return map_coordinates(image, [rows, columns], order=3, mode="nearest")


def _paste_discs(hosts: np.ndarray, donor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Paste a disc of the donor onto each host, `[n, SIDE, SIDE]`.

    Returns:
      The hosts changed, and the share of each pixel covered, `[n, SIDE, SIDE, 1]` float32.
    """
    n = len(hosts)
    rng = np.random.default_rng(_SEEDS["defect"])
    size, down, across, donor_down, donor_across = rng.random((5, n))
    radius = (4 + 3.5 * size)[:, None, None]  # 8 to 15 px across
    inset = 8.5
    centre = inset + np.stack([down, across]) * (SIDE - 1 - 2 * inset)
    pixels = np.arange(SIDE)
    distance = np.hypot(
        pixels[:, None] - centre[0, :, None, None], pixels - centre[1, :, None, None]
    )
    coverage = np.clip(radius - distance + 0.5, 0, 1)
    low, span = SIDE / 2 + 2, donor.shape[0] - SIDE - 4
    places = low + np.stack([donor_down, donor_across]) * span
    patches = _resample(donor, places, np.zeros(n), SIDE)

    def mean_under(images: np.ndarray) -> np.ndarray:
        return ((images * coverage).sum((1, 2)) / coverage.sum((1, 2)))[:, None, None]

    patches = patches - mean_under(patches) + mean_under(hosts)
    pasted = coverage * patches + (1 - coverage) * hosts
    return pasted, coverage[..., None].astype(np.float32)


def _to_uint8(crops: np.ndarray) -> np.ndarray:
    """`[n, h, w]` in 0..255 to `[n, h, w, 1]` uint8."""
    return np.clip(np.floor(crops + 0.5), 0, 255).astype(np.uint8)[..., None]
