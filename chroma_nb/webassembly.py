"""`IS_WEBASSEMBLY`: whether Python runs in a browser (Pyodide, JupyterLite), without threads and without some libraries."""

from __future__ import annotations

import sys

IS_WEBASSEMBLY = sys.platform == "emscripten"
