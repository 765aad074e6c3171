"""What is left of HTML where front ends take things away."""

from __future__ import annotations

from html.parser import HTMLParser

#: Elements that JupyterLab shows untrusted and GitHub shows at all.
ALLOWED = {
    *(
        "div",
        "p",
        "span",
        "strong",
        "code",
        "pre",
        "mark",
        "details",
        "summary",
        "meter",
        "progress",
    ),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "ul", "li", "style"),
}
ATTRIBUTES = {"class", "scope", "min", "max", "low", "high", "optimum", "value"}
_VOID = {"br", "hr", "img", "input", "meta", "link"}


class Page(HTMLParser):
    """Reads a fragment: its text without styles, its elements and attributes, and what is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.problems: list[str] = []
        self.feed(html)
        self.close()
        self.problems += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.problems.append(f"</{tag}> closes {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and data.strip():
            self.pieces.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        """What somebody reads where all styles are removed."""
        return " ".join(self.pieces)

    def strange(self) -> list[str]:
        """Return elements and attributes that should not be there."""
        found = [tag for tag, _ in self.elements if tag not in ALLOWED]
        for tag, attributes in self.elements:
            found += [f"{tag} {name}" for name in attributes if name not in ATTRIBUTES]
        return found
