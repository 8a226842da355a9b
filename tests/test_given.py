"""What people hold of samples: frames, image files, tensors; and what notebooks and sklearn see."""

import io
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import jax.numpy as jnp
import joblib
import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from small_detector import images, make

from ad_jax.base.errors import InputError
from ad_jax.base.html import as_table
from ad_jax.data.samples import as_samples
from ad_jax.detect import Loading, given
from ad_jax.estimator import Detector
from ad_jax.selection import Selection, search

ROWS = {"steps": 3, "width": 8, "seeds": 1, "alpha": 0.2}
IMAGES = {"steps": 3, "width": 8, "seeds": 1, "backbone": "encoder", "alpha": 0.2, "size": 16}
pytestmark = pytest.mark.usefixtures("relaxed")


class Frame:
    """A frame by what it offers: names of columns, and each by its name."""

    def __init__(self, columns):
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name):
        return self._columns[name]


class Tensor:
    """A tensor of another device that records gradients, by what PyTorch's offer."""

    def __init__(self, values):
        self._values, self.where = values, "elsewhere"

    def detach(self):
        return self

    def cpu(self):
        moved = Tensor(self._values)
        moved.where = "cpu"
        return moved

    def __array__(self, dtype=None, copy=None):
        assert self.where == "cpu"
        return self._values


def readings(count, seed=0, line="ab"):
    draw = np.random.default_rng(seed)
    return {
        "width": draw.normal(size=count),
        "count": draw.integers(0, 9, count),
        "line": draw.choice(list(line), count).tolist(),
    }


@pytest.fixture(scope="module")
def of_frame(relaxed):
    return Detector(**ROWS).fit(Frame(readings(40)))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for i, image in enumerate(images(24, (20, 20, 1))):
        Image.fromarray(image[..., 0]).save(folder / f"{i:02}.png")
    return sorted(folder.iterdir())


# ---- frames ----


def test_a_frame_is_found_by_the_names_of_its_columns(of_frame, tmp_path):
    new = readings(5, seed=1)
    scores = of_frame.decision_function(Frame(new))
    turned = dict(reversed({**new, "unknown": [0] * 5}.items()))
    assert (of_frame.decision_function(Frame(turned)) == scores).all()
    of_frame.save(tmp_path / "saved")
    kept = Detector.load(tmp_path / "saved")
    assert kept.loading.columns == of_frame.loading.columns
    assert (kept.decision_function(Frame(turned)) == scores).all()


def test_a_frame_without_a_column_is_refused_in_one_line(of_frame):
    new = readings(5)
    del new["line"]
    with pytest.raises(InputError, match="^X lacks column 'line', which the training rows have"):
        of_frame.predict(Frame(new))


def test_a_target_says_nothing_of_how_columns_become_numbers(of_frame):
    again = Detector(**ROWS)
    new = Frame(readings(9, seed=3, line="xyz"))
    normals, target, held_out = again._arrays(Frame(readings(40)), new, None)
    assert again.loading.columns == of_frame.loading.columns and held_out is None
    assert normals.shape == (40, *of_frame.shape) and target.shape == (9, *of_frame.shape)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_of_libraries(library, of_frame):
    made = pytest.importorskip(library).DataFrame(readings(5, seed=1))
    twin = of_frame.decision_function(Frame(readings(5, seed=1)))
    assert (of_frame.decision_function(made) == twin).all()


# ---- image files ----


def test_image_files_become_samples_as_in_training(files, tmp_path):
    normals, loading = given.normals_of("X", [str(file) for file in files], 16, False)
    assert normals.shape == (24, 16, 16, 1) and loading == Loading("stretch", None)
    colour = tmp_path / "colour.png"
    Image.open(files[0]).convert("RGB").save(colour)
    detector = make()
    scores = detector.decision_function(normals[[0, 0, 1]])
    assert (detector.decision_function([files[0], colour, str(files[1])]) == scores).all()
    assert (
        detector.decision_function(np.array([str(files[i]) for i in (0, 0, 1)])) == scores
    ).all()


def test_a_file_that_does_not_read_is_named(files, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    with pytest.raises(InputError, match="^1 of 25 images .*bad.png .* mend or remove them$"):
        Detector(**IMAGES).fit([*files, bad])
    with pytest.raises(InputError, match="^X: .*bad.png .* cannot be read; mend or leave out$"):
        make().decision_function([bad])


def test_files_suit_images_only(of_frame, files):
    with pytest.raises(InputError, match="^X is a list of files and samples have shape"):
        of_frame.predict(files)


# ---- arrays ----


def test_arrays_of_libraries():
    detector, samples = make(), images(4)
    scores = detector.decision_function(samples)
    assert (detector.decision_function(jnp.asarray(samples)) == scores).all()
    assert (detector.decision_function(Tensor(samples)) == scores).all()


def test_pytorchs_own_tensors():
    torch = pytest.importorskip("torch")
    rows = torch.zeros(3, 2, requires_grad=True)
    assert (as_samples("X", rows) == np.zeros((3, 2))).all()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("parts/", "^X is the path 'parts/'; ad_jax.load reads"),
        (np.array([["a", "b"]]), "^X has dtype <U1; give uint8 or float numbers"),
        (np.array([{}], object), "^X has dtype object; give"),
    ],
)
def test_what_cannot_be_taken_is_refused_in_one_line(value, said):
    with pytest.raises(InputError, match=said) as refused:
        Detector(**IMAGES).fit(value)
    assert "\n" not in str(refused.value)


def test_no_library_is_imported_to_know_its_values():
    assert not given.is_frame(np.zeros((2, 2))) and not given.is_frame(jnp.zeros((2, 2)))
    assert given.files_of([]) == [] and given.files_of([1.0, "a"]) == []
    assert not given.is_frame(SimpleNamespace(columns=lambda: []))
    heavy = {"pandas", "polars", "torch"} & {
        name for name in sys.modules if getattr(sys.modules[given.__name__], name, None)
    }
    assert not heavy


# ---- scikit-learn and notebooks ----


@pytest.mark.whole
def test_a_pipeline_cross_validates_and_is_dumped():
    rows = np.random.default_rng(0).normal(size=(40, 3))
    pipeline = make_pipeline(MinMaxScaler(), Detector(**ROWS))
    scores = cross_val_predict(pipeline, rows, cv=2, method="decision_function")
    assert scores.shape == (40,) and np.isfinite(scores).all()
    pipeline.fit(rows)
    file = io.BytesIO()
    joblib.dump(pipeline, file)
    file.seek(0)
    again = joblib.load(file)
    assert (again.decision_function(rows) == pipeline.decision_function(rows)).all()


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.cells = [], []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.cells += [""] if tag in ("th", "td", "caption") else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.cells[-1] += data


def cells(html):
    parser = Cells()
    parser.feed(html)
    assert not parser.open
    return parser.cells


def test_a_table_escapes_what_it_is_given():
    assert cells(as_table("a<b", [("x & y", "<script>")])) == ["a<b", "x & y", "<script>"]


def test_notebooks_show_a_detector():
    assert Detector()._repr_html_() is None
    shown = cells(make()._repr_html_())
    assert "binary/cutpaste 0.1" in shown and "16 x 16 x 1, uint8" in shown
    assert shown[shown.index("held-out normals") + 1] == "30"


def test_notebooks_show_a_selection():
    setting = search.setting("binary", "cutpaste", area=0.1)
    parts = SimpleNamespace(
        rule="several_tails",
        pick=setting,
        trust=SimpleNamespace(verdict="high", reasons=("forecast: as good as the ensemble",)),
        signatures=(SimpleNamespace(name="collapse", found=False, advice="train longer"),),
        ensemble=None,
        detector=make(),
    )
    shown = cells(Selection._repr_html_(parts))
    assert shown[:3] == ["Selection", "pick, by several_tails", setting.label]
    assert "forecast: as good as the ensemble" in shown and "held-out normals" in shown
    assert "collapse" not in shown
