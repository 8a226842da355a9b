# %% [markdown]
# # Audit scores from another library
#
# [Open in Colab](https://colab.research.google.com/github/OWNER/ad_jax/blob/main/experiments/notebooks/audit_scores.ipynb)
# (put your fork in the place of OWNER). About half a minute on 2 CPU cores.
#
# Any detectors' scores are a pool: rows are members, columns are samples, higher is stranger. Here
# scikit-learn's detectors over their hyperparameters; PyOD's work the same way. What would every
# label-free rule pick, and what would peeking at labels have bought?

# %%
import subprocess
import sys

if (
    "google.colab" in sys.modules
):  # a fresh Colab machine; elsewhere the package is installed already
    REPOSITORY = "git+https://github.com/OWNER/ad_jax"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", REPOSITORY], check=True)

# %% [markdown]
# ## A pool of foreign detectors
#
# Handwritten digits: threes are normal, the target mixes them with a tenth of other digits. Half of
# the remaining threes are held out: they tell a rule what "nothing there" looks like.

# %%
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

values, digit = load_digits(return_X_y=True)
generator = np.random.default_rng(0)
threes = generator.permutation(np.flatnonzero(digit == 3))
others = generator.permutation(np.flatnonzero(digit != 3))[:20]
train, held_out, normal = np.split(threes, [70, 105])
target = values[np.concatenate([normal, others])] / 16.0
anomalous = np.r_[np.zeros(len(normal), int), np.ones(len(others), int)]
train, held_out = values[train] / 16.0, values[held_out] / 16.0


def reconstruction(count):
    """Distance to the span of the first principal components."""
    basis = PCA(count).fit(train)
    return lambda x: np.linalg.norm(x - basis.inverse_transform(basis.transform(x)), axis=1)


def of(model):
    model.fit(train)
    return lambda x: -model.score_samples(x)


members = {("PCA", "components", k): reconstruction(k) for k in (2, 8, 16, 32)}
members |= {
    ("LOF", "neighbours", k): of(LocalOutlierFactor(n_neighbors=k, novelty=True))
    for k in (2, 5, 10, 30)
}
members |= {("OneClassSVM", "gamma", g): of(OneClassSVM(gamma=g)) for g in (0.01, 0.1, 1.0, 10.0)}
members |= {
    ("IsolationForest", "samples", n): of(IsolationForest(max_samples=n, random_state=0))
    for n in (8, 32, 70)
}
settings = [{"name": name, hyper: value} for name, hyper, value in members]
scores = np.stack([score(target) for score in members.values()])
held_out_scores = np.stack([score(held_out) for score in members.values()])
scores.shape, held_out_scores.shape

# %% [markdown]
# ## Every rule's pick, without labels

# %%
from ad_jax import Pool, rules
from ad_jax.report.shelf import shelf, table

pool = Pool.from_scores(scores, settings, held_out=held_out_scores)
found = shelf(pool)
print(table(found))

# %% [markdown]
# ## Open the labels
#
# AUROC of every pick, beside the best there was and the expected random one.

# %%
from ad_jax import evaluate
from ad_jax.data import Labels, Truth

names = [str(i) for i in range(len(anomalous))]
truth = Truth(names, lambda: Labels(anomalous, ["other digit" if a else "" for a in anomalous]))
audit = evaluate.audit_pool(pool, found.losses, truth)
print(table(found, audit.picks))
print(
    f"oracle {audit.oracle:.3f} ({audit.best}), expected of a random one {audit.expected_random:.3f}"
)

# %%
from ad_jax.report.chart import FAINT, Box, Canvas

loss = found.losses[rules.DEFAULT]
page, box = Canvas(560, 320), Box(60, 40, 540, 270, min(audit.auroc.values()) - 0.05, 1.0)
page.panel(box, f"AUROC against the loss of {rules.DEFAULT}")
low, high = min(loss.values()), max(loss.values())
colours = dict(
    zip(
        dict.fromkeys(s.family for s in pool.settings), ("#1b6ca8", "#d1495b", "#2e8b57", "#b8860b")
    )
)
for setting in pool.settings:
    x = box.left + (box.right - box.left) * (loss[setting.key] - low) / max(high - low, 1e-9)
    page.dot(x, box.y(audit.auroc[setting.key]), colours[setting.family])
for i, (family, colour) in enumerate(colours.items()):
    page.dot(80 + 125 * i, 300, colour)
    page.text(90 + 125 * i, 300, family, 12, anchor="lm")
page.text(540, 20, "the rule picks the leftmost", 12, FAINT, "ra")
page.image()

# %% [markdown]
# ## What peeking would have bought
#
# Choosing family, hyperparameter and so on by the labels of one half of the target, reported on the
# other half: the difference to the same figures on the half that chose is what "tuned on the test set"
# adds without anything being better.

# %%
pick = min(pool.settings, key=lambda s: loss[s.key])
snooped = evaluate.snooping(pool, pick, truth)
print(f"picked without labels: {pick.label}, AUROC {audit.auroc[pick.key]:.3f}")
halves = snooped.halves
print(
    f"best by labels, on the half that chose {halves.own.value:.3f}, on the other {halves.other.value:.3f}"
)
