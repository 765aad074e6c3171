"""Copy the screenshots that the documentation uses, small:  shrink_pictures.py FROM TO."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

#: What is shown where: docs/notebook.md and README.md name these files.
PICTURES = (
    *("memory-widget-light", "memory-widget-dark", "search-widget-light", "search-widget-dark"),
    *(
        "objects-lab-light",
        "objects-lab-dark",
        "map-widget-light",
        "map-static-light",
        "table-widget-light",
    ),
)


def main() -> None:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        picture = Image.open(source / f"{name}.png").convert("RGB")
        # 256 colours are enough for a screen, and a third of the size. The octree keeps those of a few pixels, as in a legend.
        few = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        few.save(target / f"{name}.png", optimize=True)
        print(target / f"{name}.png", (target / f"{name}.png").stat().st_size)


if __name__ == "__main__":
    main()
