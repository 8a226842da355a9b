"""Tables and series under the default pool of their modality: what is beyond images worth?

    for part in rows series; do
      ad-jax select --config experiments/configs/beyond_images.py:$part --out runs/$part
    done

Seven tables of ADBench (of `38_thyroid`, which is a part of `2_annthyroid`, nothing) and seven
series, below `AD_JAX_DATA`; 5 seeds. `smoke` has one embedded table and few steps.
"""

from ml_collections import ConfigDict

ROWS = ("2_annthyroid", "6_cardio", "20_letter", "28_pendigits", "30_satellite", "40_vowels")
PARTS = {
    "rows": [f"tabular/{name}.npz" for name in (*ROWS, "46_WPBC")],
    "series": [
        f"series/{name}.npz"
        for name in (
            "nab_ambient_temperature_system_failure",
            "nab_art_daily_flatmiddle",
            "nab_art_increase_spike_density",
            "nab_ec2_cpu_utilization_825cc2",
            "nab_ec2_request_latency_system_failure",
            "nab_nyc_taxi",
            "ecg_mba806_first60k",
        )
    ],
}


SEEDS = {"rows": 5, "series": 5}


def get_config(argument: str = "rows") -> ConfigDict:
    """One of the parts; `PART:BEGINNING` for those of its sets whose name begins so."""
    part, _, beginning = argument.partition(":")
    if part == "smoke":
        small = {"steps": 5, "seeds": 1, "families": ["neighbour/identity", "binary/feature_noise"]}
        return ConfigDict({"sources": ["sklearn:wine"], **small})
    if part not in PARTS:
        raise ValueError(f"no part {part!r}; known: {', '.join(PARTS)}, smoke")
    sources = [s for s in PARTS[part] if s.partition("/")[2].startswith(beginning)]
    return ConfigDict({"sources": sources, "seeds": SEEDS[part]})
