"""Draws how far nodes lag behind over time, as a PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont

WIDTH: Final = 1200
HEIGHT: Final = 600
LEFT: Final = 90
RIGHT: Final = 30
TOP: Final = 70
BOTTOM: Final = 70
WHITE: Final = (255, 255, 255)
SHADE: Final = (240, 232, 220)
INK: Final = (40, 40, 40)
GRID: Final = (215, 215, 215)
COLOURS: Final = ((0, 90, 181), (213, 94, 0), (0, 133, 95))
STEPS: Final = 5  # of each axis


class Sample(NamedTuple):
    """At a time, how many acknowledged spans each node did not hold yet."""

    at_s: float
    lags: Mapping[str, int]


def draw(samples: Sequence[Sample], cut: tuple[float, float], path: Path) -> None:
    """Write the picture; `cut` is from when to when the nodes did not reach each other."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), WHITE)
    pen = ImageDraw.Draw(picture)
    small, large = ImageFont.load_default(16), ImageFont.load_default(22)
    last_s = max(samples[-1].at_s, 1.0)
    most = max([lag for sample in samples for lag in sample.lags.values()] + [1])

    def place(at_s: float, lag: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * at_s / last_s
        return across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * lag / most

    pen.rectangle((*place(cut[0], most), *place(cut[1], 0)), fill=SHADE)
    pen.text((place(cut[0], most)[0] + 8, TOP + 4), "cut off", INK, small)
    for step in range(STEPS + 1):
        lag, at_s = most * step / STEPS, last_s * step / STEPS
        pen.line((place(0, lag), place(last_s, lag)), GRID)
        pen.text((LEFT - 10, place(0, lag)[1]), f"{lag:,.0f}", INK, small, anchor="rm")
        pen.text((place(at_s, 0)[0], HEIGHT - BOTTOM + 10), f"{at_s:.1f} s", INK, small, anchor="mt")
    pen.text((LEFT, 14), "Spans that were acknowledged somewhere and are not here yet", INK, large)
    for number, name in enumerate(samples[0].lags):
        colour = COLOURS[number % len(COLOURS)]
        pen.line([place(sample.at_s, sample.lags[name]) for sample in samples], colour, width=3)
        pen.line((LEFT + 150 * number, 54, LEFT + 30 + 150 * number, 54), colour, width=4)
        pen.text((LEFT + 40 + 150 * number, 54), name, INK, small, anchor="lm")
    pen.text((LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 20), "time", INK, small, anchor="mb")
    picture.save(path, "PNG")
