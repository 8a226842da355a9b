"""Where an image is strange: heatmaps from the feature maps of a trained network.

`make_localiser(network_maps(backbone, shape), shape)` gives pure functions: `features(params,
samples)`, `fit` to those of normals, and `look(params, fitted, samples) -> [n, h, w]` in decades,
one scale for all images. Seeds are averaged as heatmaps, never as raw scores. Methods: `position`
(the default), `neighbour`, `texture`.
"""

from ad_jax.detect.localise.densities import DEFAULT, HEAD, METHODS, get
from ad_jax.detect.localise.features import Read, grid_maps, network_maps, pixel_maps
from ad_jax.detect.localise.maps import Fitted, Localiser, fitted_on, make_localiser
from ad_jax.detect.localise.scale import Scale, alarm, fit_scale, to_decades

__all__ = [
    "DEFAULT",
    "HEAD",
    "METHODS",
    "Fitted",
    "Localiser",
    "Scale",
    "alarm",
    "fit_scale",
    "fitted_on",
    "make_localiser",
    "Read",
    "get",
    "grid_maps",
    "network_maps",
    "pixel_maps",
    "to_decades",
]
