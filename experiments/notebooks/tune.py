# %% [markdown]
# # Tune an augmentation by gradient
#
# [Open in Colab](https://colab.research.google.com/github/OWNER/ad_jax/blob/main/experiments/notebooks/tune.ipynb)
# (put your fork in the place of OWNER). About 3 minutes on 2 CPU cores.
#
# A grid explodes with the number of hyperparameters. Here the augmentation's own numbers descend an
# alignment loss *through training*: some training steps, one step of the hyperparameters, again, from
# several starts at once. The rule that selects among settings then picks an end, or the untuned
# default: descent alone is not to be trusted (see docs/guide/tuning.md).

# %%
import subprocess
import sys

if (
    "google.colab" in sys.modules
):  # a fresh Colab machine; elsewhere the package is installed already
    REPOSITORY = "git+https://github.com/OWNER/ad_jax"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", REPOSITORY], check=True)

# %% [markdown]
# ## A problem whose answer is known
#
# Anomalies planted among bricks by CutDiff with an area of .1 and a strength of .7: so it can be seen
# whether descent goes there. With your own data: `ad_jax.load("parts/", size=64)`.

# %%
import ad_jax
from ad_jax import Config, tuning

problem, truth = ad_jax.load(
    "planted:cutdiff", base="textures:brick-defect", share=0.2, hyper="area:0.1;strength:0.7"
)
print(len(problem.train), "normals,", len(problem.target), "unlabelled, each", problem.shape)

# %% [markdown]
# ## Descend
#
# Two starts: the untuned default, and one far away. The gradient goes back through the five training
# steps before it: the target and the held-out normals meet the augmentation only in what the network
# learned from it.

# %%
tuned = ad_jax.tune(
    problem,
    "cutdiff",
    tune=["area", "strength"],
    starts=[{"area": 0.08, "strength": 1.0}, {"area": 0.4, "strength": 0.25}],
    plan=tuning.Plan(outer_steps=20, horizon=5, warm_up=60),
    seeds=(0, 1),
    config=Config(steps=300),
    report=lambda step: print(f"outer step {step.done}/{step.total}, {step.left:.0f} s left"),
)

# %%
from ad_jax.report import tuning as report
from ad_jax.report.table import render

print(render(*report.table(tuned)))
print("picked:", tuned.setting.label, tuned.hyper)
print("\n".join(tuned.reasons))

# %% [markdown]
# ## See it
#
# Curves of loss and hyperparameters, a colour per start; one normal augmented along the best start; the
# samples of the target that the picked detector finds strangest.

# %%
report.picture(tuned, problem)

# %% [markdown]
# ## What it was worth
#
# Labels, opened at the end: AUROC of every setting that was trained to the end.

# %%
import numpy as np

from ad_jax import evaluate

pool = tuned.selection.pool
audit = evaluate.audit_pool(pool, tuned.selection.losses, truth, "notebook")
rows = [
    [setting.label, setting.hyper["area"], setting.hyper["strength"], audit.auroc[setting.key]]
    for setting in pool.settings
]
print(render(["setting", "area", "strength", "AUROC"], rows))
print("planted: area 0.1, strength 0.7; picked:", np.round(audit.picks[tuned.selection.rule], 3))
