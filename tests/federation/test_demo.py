"""scripts/demo in its short form: three daemons, cut off from each other, agree in the end."""

import subprocess
from pathlib import Path
from typing import Final

from PIL import Image

DEMO: Final = Path(__file__).parent.parent.parent / "scripts/demo"


def test_the_demo_ends_with_nodes_that_agree_and_a_picture(tmp_path: Path) -> None:
    picture = tmp_path / "convergence.png"
    done = subprocess.run(
        (DEMO, "--lines", "200", "--seconds", "3", "--picture", picture),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "all hold 200 requests" in done.stdout
    with Image.open(picture) as image:
        colours = image.convert("RGB").getcolors(image.width * image.height)
    assert colours is not None
    assert len(colours) > 3  # more than an empty sheet
