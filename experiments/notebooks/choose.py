# %% [markdown]
# # Choose an augmentation for my own folder
#
# [Open in Colab](https://colab.research.google.com/github/OWNER/ad_jax/blob/main/experiments/notebooks/choose.ipynb)
# (put your fork in the place of OWNER). About 2 minutes on 2 CPU cores.
#
# You have pictures of good parts and a stream of unlabelled ones. Which pseudo-anomalies should a
# detector learn from? No label is needed to choose: `ad_jax` trains a small pool of detectors and
# compares how strange the unlabelled pictures look to each with how strange *held-out good ones* look.

# %%
import subprocess
import sys

if (
    "google.colab" in sys.modules
):  # a fresh Colab machine; elsewhere the package is installed already
    REPOSITORY = "git+https://github.com/OWNER/ad_jax"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", REPOSITORY], check=True)

# %% [markdown]
# ## A folder
#
# `train/` holds good parts, `target/` unlabelled ones, some of them bad. This cell makes such a folder
# from handwritten digits that come with scikit-learn: fours are good, the target mixes all digits. Put
# the path of your own in its place.

# %%
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from PIL import Image

import ad_jax

made, sealed = ad_jax.load("digits", normal=4)
folder = Path(mkdtemp()) / "parts"
for part, samples in (("train", made.train), ("target", made.target)):
    (folder / part).mkdir(parents=True)
    for i, sample in enumerate(samples):
        pixels = np.asarray(sample)
        pixels = pixels if pixels.dtype == np.uint8 else np.uint8(255 * pixels)
        Image.fromarray(pixels.squeeze()).save(folder / part / f"{i:04}.png")

problem, truth = ad_jax.load(str(folder), size=16)
print(len(problem.train), "normals,", len(problem.target), "unlabelled, each", problem.shape)

# %% [markdown]
# ## Choose
#
# Quarter turns, and pasted patches and noise of several strengths, two trainings each.
# `ad_jax.selection.search.grid` without families gives the default pool; more steps and seeds make the choice
# steadier.

# %%
from ad_jax import Config, search
from ad_jax.report.table import render

families = ["binary/quarter_turns", "binary/cutpaste", "binary/gaussian_noise"]
settings = search.grid(problem.shape, (0.04, 0.16), families)
selection = ad_jax.select(
    problem,
    settings,
    seeds=(0, 1),
    config=Config(steps=400),
    report=lambda p: print(f"{p.done}/{p.total} members, about {p.left:.0f} s left"),
)
by_key = selection.losses[selection.rule]
ranked = sorted(settings, key=lambda s: by_key[s.key])
print(render(["setting", selection.rule], [[s.label, by_key[s.key]] for s in ranked]))

# %% [markdown]
# ## How far to trust it
#
# The verdict weighs the margin of the pick against the noise of seeds and samples, and asks whether
# there may be no anomalies at all.

# %%
print("pick:", selection.pick.label, "| trust:", selection.trust.verdict)
print("\n".join(selection.trust.reasons))
for signature in selection.signatures:
    if signature.found:
        print(f"{signature.name}: {signature.advice}")

# %% [markdown]
# ## Use the detector
#
# The threshold comes from held-out good parts: about one in twenty of them would be flagged.

# %%
detector = selection.detector.set_threshold(0.05)
p = detector.p_values(problem.target)
scores = detector.decision_function(problem.target)
print(f"{(p <= 0.05).sum()} of {len(p)} flagged; the share of anomalies is about")
print(detector.anomaly_share(problem.target))

# %%
from ad_jax.report.preview import image_of

order = np.argsort(-scores)
page = Image.new("RGB", (12 * 68 + 4, 2 * 68 + 4), "white")
for row, some in enumerate(
    (order[:12], order[::-1][:12])
):  # the strangest above, the plainest below
    for column, i in enumerate(some):
        sample = problem.target[i]
        sample = sample / 255.0 if sample.dtype == np.uint8 else sample
        page.paste(image_of(sample, 64), (4 + 68 * column, 4 + 68 * row))
page

# %% [markdown]
# ## Keep it
#
# A saved detector scores new folders from the command line: `ad-jax score detector/ new/`.

# %%
detector.save(folder / "detector")
again = ad_jax.Detector.load(folder / "detector")
assert np.allclose(again.decision_function(problem.target), scores)
print(sorted(path.name for path in (folder / "detector").iterdir()))

# %% [markdown]
# ## If you have labels after all
#
# Nothing above has seen one. Opened now, and only now, they say what the choice was worth. (In this
# demonstration they come from the maker of the folder; the files keep its order.)

# %%
from ad_jax import ranks

anomalous = np.asarray(sealed.open("notebook").anomalous)
place = {h: i for i, h in enumerate(made.sample_hashes)}
own = np.array([anomalous[place[h]] for h in problem.sample_hashes])
print(f"AUROC of the picked detector: {float(ranks.auroc(scores[own == 0], scores[own == 1])):.3f}")
