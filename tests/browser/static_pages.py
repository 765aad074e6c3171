"""Pages that imitate where outputs are shown, with what can be measured on them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

#: Rules of axe-core that judge a whole page, not what is put into it.
PAGE_RULES = (
    *("region", "landmark-one-main", "page-has-heading-one", "html-has-lang", "document-title"),
)


def theme_css(name: str) -> str:
    """Return JupyterLab's own style sheet of a theme, ``light`` or ``dark``."""
    folder = Path(sys.prefix, "share/jupyter/lab/themes/@jupyterlab", f"theme-{name}-extension")
    return "\n".join(file.read_text() for file in sorted(folder.rglob("*.css")))


def pages() -> dict[str, str]:
    """Return the pages by name; ``{output}`` stands for the output."""
    found = {}
    for name in ("light", "dark"):
        css = theme_css(name)
        variables = "\n".join(re.findall(r":root\s*\{[^}]*\}", css))
        assert "--jp-content-font-color1" in variables
        found[f"lab-{name}"] = (
            f"<html lang=en><head><title>x</title><style>{variables}"
            "body{background:var(--jp-layout-color0);color:var(--jp-content-font-color1);"
            "font-family:var(--jp-content-font-family);font-size:14px}"
            ".jp-RenderedHTMLCommon td,.jp-RenderedHTMLCommon th{text-align:right;padding:.5em}"
            ".jp-RenderedHTMLCommon tbody tr:nth-child(odd)"
            "{background:var(--jp-rendermime-table-row-background)}"
            "</style></head><body data-jp-theme-name=x data-jp-theme-light="
            f"{str(name == 'light').lower()}><div class=jp-RenderedHTMLCommon>{{output}}</div>"
        )
    found["colab-dark"] = (
        "<html lang=en theme=dark><head><title>x</title><style>"
        "body{background:#383838;color:#d5d5d5;font-family:Roboto,sans-serif;font-size:14px}"
        "</style></head><body>{output}"
    )
    found["vscode-dark"] = (
        "<html lang=en><head><title>x</title><style>"
        "body{background:#1f1f1f;color:#cccccc;font-family:sans-serif;font-size:14px}</style></head>"
        "<body class=vscode-dark data-vscode-theme-kind=vscode-dark>{output}"
    )
    found["bare"] = "<html lang=en><head><title>x</title></head><body>{output}"
    return found


_CONTRAST = """selector => {
  const parse = text => {
    const m = text.match(/rgba?\\(([^)]+)\\)/);
    if (!m) return [0, 0, 0, 0];
    const p = m[1].split(/[ ,\\/]+/).map(Number);
    return [p[0], p[1], p[2], p.length > 3 ? p[3] : 1];
  };
  const over = (top, under, share) => {
    const a = top[3] * share;
    return [0, 1, 2].map(i => top[i] * a + under[i] * (1 - a)).concat([1]);
  };
  const light = c => {
    const f = c.slice(0, 3).map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 });
    return .2126 * f[0] + .7152 * f[1] + .0722 * f[2];
  };
  const found = [];
  const walker = document.createTreeWalker(document.querySelector(selector), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.textContent.trim() || ['STYLE', 'SCRIPT'].includes(element.tagName)) continue;
    if (!element.getClientRects().length || element.closest('[disabled]')) continue;
    let ground = [255, 255, 255, 1], opacity = 1;
    const chain = [];
    for (let e = element; e; e = e.parentElement) chain.unshift(e);
    for (const e of chain) {
      const style = getComputedStyle(e);
      ground = over(parse(style.backgroundColor), ground, 1);
      opacity *= Number(style.opacity);
    }
    // What is transparent is not there, such as a tooltip before somebody hovers.
    if (opacity === 0) continue;
    const ink = over(parse(getComputedStyle(element).color), ground, opacity);
    const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) found.push(node.textContent.trim().slice(0, 40) + ' ' + ratio.toFixed(2));
  }
  return found;
}"""


def contrast_problems(page: Page, selector: str = "body") -> list[str]:
    """Return the visible texts whose contrast is below 4.5 to 1 (WCAG 2, level AA).

    What is disabled is left out, as WCAG does.
    """
    found: list[str] = page.evaluate(_CONTRAST, selector)
    return found


def axe_problems(page: Page, context: str | None = None) -> list[str]:
    """Return what axe-core finds serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    options: dict[str, Any] = {"rules": {rule: {"enabled": False} for rule in PAGE_RULES}}
    response = Axe().run(page, context=context, options=options).response
    return [
        f"{one['id']}: {node['html'][:120]}"
        for one in response["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
        # ipywidgets' slider library gives its handles no name, and takes none.
        if "noUi-handle" not in node["html"]
    ]
