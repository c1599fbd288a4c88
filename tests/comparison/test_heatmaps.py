"""Panels with heat maps: a block's map goes where its block looks, a whole image's stays."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from src.comparison.report.heatmaps import Overlay, draw_overlays

ABOUT = {"dataset": {"kind": "real"}, "config": {}}


@pytest.mark.parametrize("side, place", [(7, 59), (224, 59)])
def test_a_map_is_strongest_where_it_points(side, place):
    heat = np.zeros((side, side), np.float32)
    heat[(1, 1) if side == 7 else (place, place)] = 1
    figure = draw_overlays([Overlay(np.zeros((224, 224), np.uint8), "one", heat)], ABOUT)
    assert isinstance(figure, Figure)
    (opacity,) = [image.get_alpha() for image in figure.axes[0].images[1:]]
    assert np.unravel_index(opacity.argmax(), opacity.shape) == (place, place)
