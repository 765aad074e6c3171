"""``python -m chroma_nb`` is ``chroma-nb``."""

import sys

from chroma_nb.cli import main

sys.exit(main())
