"""Pools on TensorFlow Datasets: each class of a data set in turn is normal.

Prepare a data set once (preparing needs TensorFlow, reading does not):

    tfds build cifar10 --file_format=array_record

Command (one part at a time; parts can run side by side, finished chunks are skipped):

    ad-jax select --config experiments/configs/tfds.py:PART --out runs/tfds/PART
    ad-jax audit runs/tfds/*

Parts: cifar10, mnist, fashion_mnist; `PART-SIZE` is the same at another size (`mnist-28`); `smoke`
is one class of mnist with few images, two areas and few steps. Images are 32 px; `limit` keeps 2000
of train and of target, by content; seeds 3. Not run yet: no cost or result is recorded.
"""

from ml_collections import ConfigDict

PARTS = ("cifar10", "mnist", "fashion_mnist")
CLASSES = range(10)


def get_config(argument: str = "cifar10") -> ConfigDict:
    if argument == "smoke":
        return ConfigDict(
            {
                "sources": ["tfds:mnist,normal=0,limit=100,size=16"],
                "steps": 5,
                "areas": (0.04, 0.08),
                "seeds": 1,
            }
        )
    part, _, size = argument.partition("-")
    if part not in PARTS:
        raise ValueError(f"no part {part!r}; known: {', '.join(PARTS)}, smoke")
    return ConfigDict(
        {
            "sources": [f"tfds:{part},normal={c},limit=2000,size={size or 32}" for c in CLASSES],
            "seeds": 3,
        }
    )
