"""The studies by name, in the order in which `all` does them; each says what it asks, and how."""

import importlib

from experiments.study import Study

NAMES = (
    *("geometric_vs_local", "bias", "selection", "tuning", "shift", "another_product"),
    *("contamination", "contaminated_training", "limited_data", "published"),  # of the paper
    *("rules", "sensitivity", "planted", "halving", "first_stage", "halved_trust"),
    *("worth", "stress", "recovery", "failures", "false_positives", "spread"),
    *("localise", "pyod_pool", "frozen", "few_normals", "transductive"),
    *("ensemble", "forecast", "ensemble_false_positives", "keep"),
    *("tuning_on_features", "tuning_by_mixture", "recovery_on_features"),
    *("beyond_images", "pyod_tables", "recovery_of_series"),
)
STUDIES: dict[str, Study] = {
    name: importlib.import_module(f"{__name__}.{name}").STUDY for name in NAMES
}
