"""Write docs/settings.md from the settings themselves: ``python scripts/settings_table.py``."""

from __future__ import annotations

from pathlib import Path

from chroma_nb.settings import describe

HEAD = """# Settings

`chroma.Settings(name=value)` for one client, `chroma.configure(name=value)` for the process, or an environment
variable. An explicit value goes before `configure()`, that before the environment, that before the default. Unknown
names are refused; settings of Chroma's that have nothing to act on here are accepted with a warning.

| setting | environment | default | meaning |
| --- | --- | --- | --- |
"""
TARGET = Path(__file__).parent.parent / "docs" / "settings.md"


def page() -> str:
    rows = [
        f"| `{name}` | `{variable}` | `{default!r}` | {doc.replace('|', '&#124;')} |\n"
        for name, variable, default, doc in describe()
    ]
    return HEAD + "".join(rows)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
