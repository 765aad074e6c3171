"""`Media`: what a record's uri is shown as, where somebody asks for thumbnails.

An address is given to the browser only if it is ``http(s)`` or an image within a ``data:`` URI. A local file is read
here, and only below a folder that was named.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.words import brief

if TYPE_CHECKING:
    import os

#: The largest local file, and the longest ``data:`` URI, that goes to the browser.
MOST_BYTES = 1_000_000
_IMAGES = frozenset((".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".bmp"))
_AUDIO = frozenset((".wav", ".mp3", ".ogg", ".oga", ".flac", ".m4a", ".opus"))
_DATA = re.compile(r"data:image/(png|jpe?g|gif|webp|avif|bmp);base64,[A-Za-z0-9+/=]*", re.ASCII)
#: How files begin -> what they are. What a file is called says nothing about that.
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"OggS", "audio/ogg"),
    (b"fLaC", "audio/flac"),
)


class Media:
    """Turns uris into what a browser may show.

    Args:
        thumbnails: False shows the text alone. True shows addresses and ``data:`` images. A folder does, too, and
            shows the files below it.

    Raises:
        InvalidArgumentError: There is no such folder.
    """

    def __init__(self, thumbnails: bool | str | os.PathLike[str]) -> None:
        self.wanted = bool(thumbnails)
        self._folder: Path | None = None
        if not isinstance(thumbnails, bool):
            folder = Path(thumbnails).expanduser()
            if not folder.is_dir():
                raise InvalidArgumentError(
                    f"Expected thumbnails to be True, False or a folder, got {brief(thumbnails, quoted=True)}."
                )
            self.wanted, self._folder = True, folder.resolve()

    def of(self, uri: str | None) -> dict[str, Any] | None:
        """Return ``{"kind": "image" | "audio" | "link", "src": ...}``; None leaves it text."""
        if not uri or not self.wanted:
            return None
        if uri[:5].lower() == "data:":
            fits = len(uri) <= MOST_BYTES and _DATA.fullmatch(uri)
            return {"kind": "image", "src": uri} if fits else None
        try:
            parts = urlsplit(uri)
        except ValueError:
            return None
        if parts.scheme in ("http", "https"):
            # A browser reads an address in its own way: what is odd about it stays text.
            if not parts.netloc or "@" in parts.netloc or re.search(r"[\s\\\x00-\x1f\x7f]", uri):
                return None
            return {"kind": _kind(parts.path), "src": uri}
        if self._folder is not None and parts.scheme in ("", "file"):
            return self._file(unquote(parts.path) if parts.scheme else uri)
        return None

    def _file(self, name: str) -> dict[str, Any] | None:
        assert self._folder is not None
        try:
            path = (self._folder / name).resolve()
            if not path.is_relative_to(self._folder) or not path.is_file():
                return None
            if path.stat().st_size > MOST_BYTES:
                return None
            content = path.read_bytes()
        except (OSError, ValueError):
            return None
        kind = _kind_of(content)
        if kind is None or len(content) > MOST_BYTES:
            return None
        encoded = base64.b64encode(content).decode("ascii")
        return {"kind": kind.partition("/")[0], "src": f"data:{kind};base64,{encoded}"}


def _kind(path: str) -> str:
    ending = PurePosixPath(path).suffix.lower()
    return "image" if ending in _IMAGES else "audio" if ending in _AUDIO else "link"


def _kind_of(content: bytes) -> str | None:
    """Return the media type of a file by how it begins."""
    if content[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(content[8:12])
    return next((kind for start, kind in _SIGNATURES if content.startswith(start)), None)
