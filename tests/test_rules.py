"""Every rule against a slow and obvious twin, and what pools cannot serve."""

import dataclasses
import functools
import hashlib
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from small_run import seen

import ad_jax
from ad_jax import alignment
from ad_jax.alignment import ALIGNMENTS, Parts, Sets, distances, measuring
from ad_jax.base import ranks
from ad_jax.pool import Member, Pool, View
from ad_jax.selection import rules, search
from ad_jax.train.setting import Setting

NUMBERS = [name for name, one in ALIGNMENTS.items() if one.measure.kind is None]

HEADS = 2


def settings():
    areas = [search.setting("binary", "cutpaste", area=a) for a in (0.02, 0.08, 0.3)]
    return [*areas, search.setting("prediction", "quarter_turns")]


def make_pool(ties=False):
    """4 settings x 2 seeds, of which one failed and one learned nothing, and a control member."""
    generator = np.random.default_rng(0)
    truth = np.linspace(-1, 2, 40)
    members, scores = [], []
    for i, (setting, seed) in enumerate(itertools.product(settings(), range(2))):
        status = {5: "failed", 6: "untrained"}.get(i, "ok")
        members.append(Member(setting, seed, status, 0.1 * i + 0.05, 0.9, 1.0))
        scores.append(truth + (0.3 + 0.2 * i) * generator.normal(size=(HEADS, 40)))
    members.append(Member(Setting("control", "raw", {}, 0.0, 0.0, 0.0), 0, "ok", *3 * [math.nan]))
    scores.append(np.stack([truth, np.full(40, np.nan)]))
    scores = np.array(scores, np.float32)
    scores = np.round(2 * scores) if ties else scores
    scores[5, :, 3] = np.nan
    count = len(members)

    def draw(*shape):
        return generator.normal(size=(count, *shape)).astype(np.float32)

    def measured(n):
        parts = Parts(*(abs(draw(n)) + 1 for _ in range(6)), between=abs(draw()) + 1)
        return {"parts": parts, **{name: draw() for name in NUMBERS}}

    return Pool(
        tuple(members),
        View(scores, measured(40)),
        View(draw(HEADS, 15), measured(15)),
        np.array([i % 2 for i in range(count - 1)] + [0]),
        View(draw(HEADS, 15) + 1),
    )


POOLS = {"plain": make_pool(), "ties": make_pool(ties=True)}
VOTERS = [0, 1, 2, 3, 4, 7]


def own(pool):
    """Scores by each member's head, row by row."""
    return [pool.scores[i, h] for i, h in enumerate(pool.default_head)]


def spearman(x, y):
    return scipy.stats.spearmanr(x, y).statistic


def twin_centrality(pool):
    score = own(pool)
    return {i: -np.mean([spearman(score[i], score[j]) for j in VOTERS if j != i]) for i in VOTERS}


def twin_udr(pool):
    score = own(pool)
    pairs = {0: 1, 1: 0, 2: 3, 3: 2}
    return {i: -spearman(score[i], score[j]) for i, j in pairs.items()}


def twin_hits(pool):
    score = own(pool)
    edges = np.array([scipy.stats.rankdata(score[i]) for i in VOTERS]) / 40
    values, vectors = np.linalg.eigh(edges @ edges.T)
    hubs = np.abs(vectors[:, values.argmax()])
    return dict(zip(VOTERS, -hubs, strict=True))


def weighted_correlation(x, y, weights):
    mean_x, mean_y = np.average(x, weights=weights), np.average(y, weights=weights)
    covariance = np.average((x - mean_x) * (y - mean_y), weights=weights)
    var_x = np.average((x - mean_x) ** 2, weights=weights)
    var_y = np.average((y - mean_y) ** 2, weights=weights)
    return covariance / math.sqrt(var_x * var_y)


def twin_select(pool):
    score = {i: own(pool)[i].astype(np.float64) for i in VOTERS}
    unified = {
        i: np.maximum(0, scipy.special.erf((s - s.mean()) / (s.std() * math.sqrt(2))))
        for i, s in score.items()
    }
    target = np.mean(list(unified.values()), axis=0)
    weights = 1 / scipy.stats.rankdata(-target)
    left = set(unified)
    ensemble = [max(left, key=lambda i: weighted_correlation(unified[i], target, weights))]
    left -= set(ensemble)
    while left:
        now = np.mean([unified[i] for i in ensemble], axis=0)
        one = max(left, key=lambda i: weighted_correlation(unified[i], now, weights))
        left.remove(one)
        then = np.mean([unified[i] for i in [*ensemble, one]], axis=0)
        reached = weighted_correlation(now, target, weights)
        if weighted_correlation(then, target, weights) > reached + 1e-12:
            ensemble.append(one)
    final = np.mean([unified[i] for i in ensemble], axis=0)
    return {i: -weighted_correlation(unified[i], final, weights) for i in VOTERS}


def scaled(score):
    return (score - score.min()) / (score.max() - score.min())


def finite_rows(pool):
    return [i for i, s in enumerate(own(pool)) if np.isfinite(s).all()]


def twin_variance(pool):
    return {i: -np.var(scaled(own(pool)[i].astype(np.float64))) for i in finite_rows(pool)}


def apart(pool, name):
    """What is measured of the target minus the same of held-out normals."""
    pairs = zip(pool.target.alignment[name], pool.held_out.alignment[name], strict=True)
    return {i: a - b for i, (a, b) in enumerate(pairs)}


def twin_entropy(pool):
    out = {}
    for i in finite_rows(pool):
        counts = np.histogram(scaled(own(pool)[i]), bins=32, range=(0, 1))[0]
        out[i] = scipy.stats.entropy(counts) / math.log(32)
    return out


def twin_auroc(pool):
    out = {}
    for i in finite_rows(pool):
        held_out = pool.held_out_scores[i, pool.default_head[i]]
        pairs = [(t > h) + (t == h) / 2 for t in own(pool)[i] for h in held_out]
        out[i] = -np.mean(pairs)
    return out


def twin_tail(pool, level=0.95):
    out = {}
    for i in finite_rows(pool):
        bound = np.quantile(pool.held_out_scores[i, pool.default_head[i]], level)
        out[i] = -np.mean(own(pool)[i] > bound)
    return out


def twin_both(pool, twins=None):
    """Mean rank among those that can be picked; that of others is what it would be among them."""
    out = {}
    twins = twins or (twin_auroc, twin_tail)
    losses = [twin(pool) for twin in twins]
    for i in finite_rows(pool):
        ranks = []
        for loss in losses:
            better = sum(loss[j] < loss[i] for j in VOTERS)
            ties = sum(loss[j] == loss[i] for j in VOTERS)  # itself, where it has a voice
            ranks.append(better + (ties + 1) / 2)
        out[i] = np.mean(ranks) / len(VOTERS)
    return out


def twin_several(pool):
    tails = [functools.partial(twin_tail, level=level) for level in (0.8, 0.9, 0.95)]
    return twin_both(pool, (*tails, twin_auroc))


def pairs(pool):
    """Member -> scores of the target and of held-out normals, where all are finite."""
    for i in finite_rows(pool):
        yield i, own(pool)[i].astype(float), pool.held_out_scores[i, pool.default_head[i]]


def twin_wilcoxon(pool, order):
    out = {}
    for i, target, held_out in pairs(pool):
        everyone = np.concatenate([target, held_out])
        values = []
        for x in target:
            rank = (everyone < x).sum() + ((everyone == x).sum() + 1) / 2
            values.append(math.prod((rank + k) / (len(everyone) + 1 + k) for k in range(order)))
        out[i] = 1 / (order + 1) - np.mean(values)
    return out


def top_mean(values):
    return np.mean(sorted(values)[-max(1, round(0.05 * len(values))) :])


def twin_magnitude(pool):
    return {
        i: -(top_mean(target) - top_mean(held_out)) / np.std(held_out)
        for i, target, held_out in pairs(pool)
    }


def conformal(target, held_out):
    return sorted((1 + sum(h >= t for h in held_out)) / (len(held_out) + 1) for t in target)


def twin_criticism(pool):
    out = {}
    for i, target, held_out in pairs(pool):
        n, m = len(target), len(held_out)
        some = list(enumerate(conformal(target, held_out), 1))[: int(0.3 * n)]
        out[i] = -max(
            (k / n - p) / math.sqrt(max(p * (1 - p), 1e-12) * (1 / n + 1 / m)) for k, p in some
        )
    return out


def twin_adadetect(pool):
    out = {}
    for i, target, held_out in pairs(pool):
        p = conformal(target, held_out[1::2])
        fine = [k for k, value in enumerate(p, 1) if value <= 0.1 * k / len(p)]
        out[i] = -max(fine, default=0) / len(p)
    return out


def twin_rtm(pool):
    out = {}
    for i in finite_rows(pool):
        target = own(pool)[i].astype(float)
        out[i] = -(top_mean(target) - np.median(target)) / abs(np.median(target))
    return out


def twin_eag(pool):
    out = {}
    for i in finite_rows(pool):
        ordered = np.sort(own(pool)[i].astype(float))[::-1]
        n, values = len(ordered), []
        for k in range(1, int(0.2 * n) + 1):
            high, low = ordered[:k], ordered[k:]
            within = k * high.var() + (n - k) * low.var()
            values.append(k * (n - k) * (high.mean() - low.mean()) ** 2 / (n * within))
        out[i] = -np.mean(values)
    return out


def twin_others(pool, rounds):
    """CutPaste (members 0 to 4) and turns (7); all voters are in one of the two families."""
    cutpaste = [v for v in VOTERS if v < 6]
    turns = [v for v in VOTERS if v >= 6]
    known = {i: (target, held_out) for i, target, held_out in pairs(pool)}
    by_setting = {}
    for v in VOTERS:
        by_setting.setdefault(pool.members[v].setting.key, []).append(v)
    surprise = {
        key: np.mean([np.asarray(ranks.surprise(known[v][1], known[v][0])) for v in rows], axis=0)
        for key, rows in by_setting.items()
    }
    trusted, out = set(surprise), {}
    for _ in range(rounds):
        losses = {}
        for key, rows in by_setting.items():
            same = cutpaste if rows[0] in cutpaste else turns
            others = [k for k in trusted if by_setting[k][0] not in same]
            others = others or [k for k in trusted if k != key] or [key]
            mean = np.mean([surprise[k] for k in sorted(others)], axis=0)
            called = np.argsort(-mean)[: max(3, round(0.03 * len(mean)))]
            for v in rows:
                target, held_out = known[v]
                p = [(1 + (held_out >= target[c]).sum()) / (len(held_out) + 1) for c in called]
                out[v] = -(1 - np.mean(p))
            losses[key] = np.mean([out[v] for v in rows])
        trusted = {key for key, loss in losses.items() if loss <= np.median(list(losses.values()))}
    return out


def twin_npd(pool):
    out = {}
    for i, head in enumerate(pool.default_head):
        made = pool.generated.scores[i, head].astype(np.float64)
        held_out = pool.held_out_scores[i, head].astype(np.float64)
        out[i] = -((made.mean() - held_out.mean()) ** 2) / (2 * (made.var() + held_out.var()))
    return out


def twin_random(pool):
    out = {}
    for i, member in enumerate(pool.members):
        text = hashlib.sha256(member.setting.key.encode()).hexdigest()
        out[i] = int(text[:12], 16) / 16**12
    return out


def twin_default(pool):
    """CutPaste: area .08 between .005 and .64 on a logarithmic scale; quarter turns have none."""
    from ad_jax.augment import CATALOGUE

    space = CATALOGUE["cutpaste"].space["area"]
    assert space.scale == "log"
    out = {6: 0.0, 7: 0.0}
    for i, area in enumerate((0.02, 0.08, 0.3)):
        way = abs(math.log(area) - math.log(space.default))
        out[2 * i] = out[2 * i + 1] = way / (math.log(space.high) - math.log(space.low))
    return out


TWINS = {
    "model_centrality": twin_centrality,
    "udr": twin_udr,
    "hits": twin_hits,
    "select": twin_select,
    "score_variance": twin_variance,
    "score_entropy": twin_entropy,
    "auroc_held_out": twin_auroc,
    "tail_share": twin_tail,
    "tail_and_auroc": twin_both,
    "several_tails": twin_several,
    "wilcoxon_7": functools.partial(twin_wilcoxon, order=7),
    "wilcoxon_31": functools.partial(twin_wilcoxon, order=31),
    "magnitude_tail": twin_magnitude,
    "higher_criticism": twin_criticism,
    "adadetect": twin_adadetect,
    "rtm": twin_rtm,
    "eag": twin_eag,
    "other_families": functools.partial(twin_others, rounds=1),
    "other_families_twice": functools.partial(twin_others, rounds=2),
    "npd": twin_npd,
    "random": twin_random,
    "default_setting": twin_default,
    "train_loss": lambda pool: {i: 0.1 * i + 0.05 for i in range(8)},
    **{
        name: lambda pool, name=name: dict(enumerate(pool.target.alignment[name]))
        for name in NUMBERS
    },
    **{f"calibrated_{name}": lambda pool, name=name: apart(pool, name) for name in NUMBERS},
}


@pytest.mark.parametrize("which", POOLS)
@pytest.mark.parametrize("name", TWINS)
def test_rules_equal_their_twins(name, which):
    pool = POOLS[which]
    expected = np.full(len(pool.members), np.inf)
    for i, value in TWINS[name](pool).items():
        expected[i] = value
    np.testing.assert_allclose(rules.get(name).loss(pool), expected, rtol=2e-5, atol=2e-6)


def test_every_rule_has_a_twin():
    on_parts = {"dsv_code", "dsv_uncapped", "dsv_formula", "discordance", "separability"}
    on_parts |= {"separability_uncapped", "base", "std"}  # in test_alignment
    names = {name.removeprefix("calibrated_") for name in rules.RULES}
    assert names == on_parts | {name.removeprefix("calibrated_") for name in TWINS}


@pytest.mark.parametrize("name", rules.RULES)
def test_rules_say_what_they_need_and_are(name):
    rule = rules.get(name)
    assert rule.needs in rules.NEEDS
    assert rule.about.startswith(f"{name}: ")
    assert rules.get(name).loss(POOLS["plain"]).shape == (9,)


def test_a_whole_pool_serves_every_rule():
    assert set(rules.available(POOLS["plain"])) == set(rules.RULES)
    assert rules.left_out(POOLS["plain"]) == {}


def some(pool, rows):
    """The pool of some members, scores alone."""
    return Pool(
        tuple(pool.members[i] for i in rows),
        View(pool.scores[rows]),
        View(pool.held_out_scores[rows]),
        pool.default_head[rows],
    )


def lacking():
    pool = POOLS["plain"]
    unknown = tuple(member._replace(train_loss=math.nan) for member in pool.members)
    return {
        "parts": (some(pool, range(9)), "dsv_code", "embeddings"),
        "distances": (some(pool, range(9)), "calibrated_sinkhorn", "embeddings"),
        "generated": (some(pool, range(9)), "npd", "generated"),
        "held-out": (
            dataclasses.replace(pool, held_out=View(np.zeros((9, HEADS, 0)))),
            "several_tails",
            "held-out",
        ),
        "seeds": (some(pool, [0, 2, 4, 8]), "udr", "one trained seed"),
        "members": (some(pool, [0, 5, 6, 8]), "hits", "1 members can be picked and compared"),
        "training": (dataclasses.replace(pool, members=unknown), "train_loss", "training"),
        "defaults": (some(pool, [8]), "default_setting", "catalogue"),
    }


@pytest.mark.parametrize("case", lacking())
def test_what_a_pool_lacks_is_said(case):
    pool, missing, word = lacking()[case]
    assert word in rules.left_out(pool)[missing]
    assert missing not in rules.available(pool)
    with pytest.raises(ad_jax.InputError, match=word):
        rules.served(missing, pool)


@pytest.mark.parametrize("name", ["model_centrality", "hits", "select", "udr", "several_tails"])
def test_a_pool_without_trained_members_has_no_finite_consensus(name):
    loss = rules.get(name).loss(some(POOLS["plain"], [5, 6, 8]))
    assert loss.shape == (3,) and np.isinf(loss).all()


def beside(pool, statuses, seed):
    """The pool and further settings that cannot be picked, one a status; `control` is one, too.

    Their scores and all else that is known of them is drawn; "few" is a setting that learned
    something with one of three seeds.
    """
    generator = np.random.default_rng(seed)
    members = list(pool.members)
    for i, status in enumerate(statuses):
        setting = search.setting("binary", "cutpaste", area=0.4 + 0.01 * i)
        if status == "control":
            setting = Setting("control", f"further {i}", {}, 0.0, 0.0, 0.0)
        states = {"few": ["ok", "untrained", "untrained"], "control": ["ok"] * 2}.get(
            status, [status] * 2
        )
        members += [
            Member(setting, s, state, generator.uniform(), 0.9, 1.0)
            for s, state in enumerate(states)
        ]
    extra = len(members) - len(pool.members)

    def longer(array):
        """Drawn rows below, now better and now worse than all others."""
        drawn = generator.normal(generator.normal(0, 2), 1, (extra, *array.shape[1:]))
        return np.concatenate([array, drawn.astype(array.dtype)])

    target, held_out, generated = (
        jax.tree.map(longer, view) for view in (pool.target, pool.held_out, pool.generated)
    )
    for view in (target, held_out):
        view.alignment["parts"] = Parts(*map(abs, view.alignment["parts"]))
    heads = np.concatenate([pool.default_head, np.zeros(extra, int)])
    return Pool(tuple(members), target, held_out, heads, generated)


@pytest.mark.parametrize("name", rules.RULES)
def test_members_that_cannot_be_picked_move_no_pick(name):
    """Whatever stands beside them, the order of the settings stays, and so do their losses."""
    pool = make_pool()
    before = rules.losses(pool, name)
    for seed in range(12):
        statuses = ("stopped", "untrained", "failed", "control", "few") * (1 + seed % 3)
        larger = beside(pool, statuses, seed)
        after = rules.losses(larger, name)
        further = {s.key for s in larger.settings} - set(before)
        assert further and all(np.isinf(after[key]) for key in further)
        np.testing.assert_allclose([after[key] for key in before], list(before.values()), rtol=1e-6)


@pytest.mark.parametrize("name", ["several_tails", "tail_and_auroc"])
def test_a_control_is_ranked_among_what_can_be_picked(name):
    """A control that is as good as a member has its loss; the best of all beats every setting."""
    pool = make_pool()
    scores, held_out = pool.scores.copy(), pool.held_out_scores.copy()
    scores[8, 0], held_out[8, 0] = scores[0, 0], held_out[0, 0]
    same = rules.get(name).loss(seen(pool, scores, held_out))
    assert same[8] == same[0]
    scores[8, 0] = held_out.max() + 1
    best = rules.get(name).loss(seen(pool, scores, held_out))
    assert best[8] < best[VOTERS].min()


def test_constant_members_agree_with_nobody():
    scores = np.random.default_rng(0).normal(size=(4, 30))
    scores[2] = 1.0
    members = Pool.from_scores(np.random.default_rng(1).normal(size=(4, 30))).members
    pool = Pool(
        members, View(scores[:, None]), View(np.zeros((4, 1, 0))), default_head=np.zeros(4, int)
    )
    assert rules.get("model_centrality").loss(pool)[2] == 0.0
    assert rules.get("select").loss(pool)[2] == 0.0
    assert np.isinf(rules.get("score_entropy").loss(pool)[2])
    assert np.isinf(rules.get("score_variance").loss(pool)[2])


@pytest.mark.parametrize("name", ["model_centrality", "hits", "select", "udr"])
def test_only_trained_members_have_a_voice(name):
    """Other scores of control, failed and untrained members change nothing; samples may move."""
    pool = POOLS["plain"]
    scores = pool.scores.copy()
    silent = [i for i in range(9) if i not in VOTERS]
    scores[silent] = np.random.default_rng(5).normal(size=scores[silent].shape)
    loss = rules.get(name).loss(pool)
    other = rules.get(name).loss(seen(pool, scores))
    assert np.isinf(other[silent]).all()
    np.testing.assert_array_equal(other, loss)
    moved = seen(pool, pool.scores[:, :, np.random.default_rng(1).permutation(40)])
    np.testing.assert_allclose(rules.get(name).loss(moved), loss, rtol=1e-5)


def test_select_leaves_out_what_leads_away():
    """A shared truth, and one member that says the reverse: it is no part of the ensemble."""
    generator = np.random.default_rng(0)
    truth = generator.normal(size=300)
    scores = truth + 0.3 * generator.normal(size=(6, 300))
    scores[3] = -truth
    pool = Pool.from_scores(scores)
    for name in ("select", "model_centrality", "hits"):
        loss = rules.get(name).loss(pool)
        assert loss.argmax() == 3 and (np.delete(loss, 3) < loss[3]).all()


# ---- rows of whole pools ----


def test_rows_are_the_functions_row_by_row():
    generator = np.random.default_rng(0)
    for low in (generator.normal(size=(3, 20)), generator.integers(0, 4, (3, 20)).astype(float)):
        high = low[:, :7] + 0.5
        np.testing.assert_array_equal(
            ranks.rank_rows(low), [scipy.stats.rankdata(row) for row in low]
        )
        for rows, one in (
            (ranks.auroc_rows, ranks.auroc),
            (ranks.tail_share_rows, ranks.tail_share),
        ):
            expected = [float(one(a, b)) for a, b in zip(low, high, strict=True)]
            np.testing.assert_allclose(rows(low, high), expected, rtol=1e-6)


# ---- distances between sets ----


def sets(sizes, seed=0):
    generator = np.random.default_rng(seed)
    return [jnp.array(generator.normal(i, 1, (n, 4)), jnp.float32) for i, n in enumerate(sizes)]


@pytest.mark.whole
def test_weights_pick_the_rows_of_a_problem():
    """Both distances with weights are those of the rows that have one."""
    train, augmented, target = sets((9, 9, 12))
    rows = np.array([1, 4, 5, 8, 10])
    weights = jnp.zeros(12).at[rows].set(1 / 5)
    found = distances.mean_distance(train, augmented, target, target_weights=weights)
    np.testing.assert_allclose(
        found, distances.mean_distance(train, augmented, target[rows]), rtol=1e-5
    )
    problems = jnp.zeros((1, 12)).at[0, rows].set(1 / 5)
    of_target, of_held_out = alignment.measure(
        Sets(train, augmented, target, target_weights=problems), target[:6]
    )
    np.testing.assert_allclose(of_target["mean_distance"][0], found, rtol=1e-5)
    near = {"rtol": 1e-4, "atol": 1e-5}
    for name in NUMBERS:
        distance = getattr(distances, name)
        alone = distance(train, augmented, target[rows])
        np.testing.assert_allclose(of_target[name][0], alone, **near)
        alone = distance(train, augmented, target[:6])
        np.testing.assert_allclose(of_held_out[name], alone, **near)


@pytest.mark.whole
def test_systematic_rows_follow_their_weights():
    weights = np.array([0.0, 3.0, 0.0, 1.0, 1.0, 2.0, 3.0])
    rows, masses = (np.asarray(x) for x in measuring.systematic(jnp.array(weights), 20))
    np.testing.assert_allclose(
        np.bincount(rows, masses, minlength=7), weights / 10, atol=1e-6
    )  # taken whole
    assert len(set(rows[5:])) == 1  # spare places repeat a row
    many = np.random.default_rng(0).uniform(0, 1, 500) * (np.arange(500) % 3 > 0)
    rows, masses = (np.asarray(x) for x in measuring.systematic(jnp.array(many), 64))
    times = np.bincount(rows, minlength=500)
    assert (np.abs(times - 64 * many / many.sum()) < 1).all() and (times[many == 0] == 0).all()
    np.testing.assert_allclose(masses, 1 / 64)
    assert (np.diff(rows) >= 0).all()


@pytest.mark.whole
def test_sampled_sinkhorn_is_near_the_whole():
    train, augmented, target = sets((300, 300, 300))
    whole = distances.sinkhorn(train, augmented, target)
    few = measuring.sampled(
        Sets(train, augmented, target, target_weights=jnp.full(300, 1 / 300)), 150
    )
    assert [len(z) for z in few[:3]] == [150, 150, 150]
    found = distances.sinkhorn(*few[:3], target_weights=few.target_weights)
    np.testing.assert_allclose(found, whole, rtol=0.15)
