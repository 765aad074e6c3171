"""Texts: of the type str itself, and encodable as UTF-8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chroma_nb.errors import InvalidArgumentError, with_way_out
from chroma_nb.validation.lists import as_list, in_a_list
from chroma_nb.words import brief, with_article

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: This many texts are joined and checked at once; one of more characters is checked by itself.
_CHECKED_TEXTS = 256
_LONG_TEXT = 16 << 10


def plain_text(text: str) -> str:
    """Return a text whose type derives from str (an enumeration, NumPy's str_) as a plain str."""
    return str.__str__(text)


def _joined(texts: Sequence[str | None]) -> Iterator[str]:
    """Yield the texts that are not ASCII: the short ones joined, then each long one."""
    others = [text for text in texts if text is not None and not text.isascii()]
    yield "".join(text for text in others if len(text) <= _LONG_TEXT)
    yield from (text for text in others if len(text) > _LONG_TEXT)


def check_texts(texts: Sequence[str | None], what: str, *, rows: bool = True) -> None:
    """Refuse texts with lone surrogates, which UTF-8 cannot encode.

    Args:
        texts: All texts of a call; None is skipped.
        what: What they are, for the message.
        rows: A text's position is its record's, so the message names it.

    Raises:
        InvalidArgumentError: A text has a lone surrogate.
    """
    try:
        # Checking joined texts is faster than one by one. ASCII has no surrogates and needs no check.
        for start in range(0, len(texts), _CHECKED_TEXTS):
            for joined in _joined(texts[start : start + _CHECKED_TEXTS]):
                joined.encode()
    except UnicodeEncodeError:
        for row, text in enumerate(texts):
            if text is not None:
                try:
                    text.encode()
                except UnicodeEncodeError as error:
                    place = f" at position {row}" if rows else ""
                    raise InvalidArgumentError(
                        f"Expected {what} to be valid Unicode, got {brief(ascii(text))}{place}: "
                        f"character {error.start} is half of a surrogate pair, which cannot be encoded "
                        "as UTF-8. Clean the text with text.encode('utf-8', 'replace').decode()."
                    ) from None


def check_column(values: Any, what: str) -> list[str | None]:
    """Return one or several texts as a list, in which None stays None.

    Args:
        values: One text for each record; documents, say.
        what: What one of them is, for the message: "document", "uri".

    Raises:
        ValueError: An empty list, or a value that is neither str nor None.
        InvalidArgumentError: A text that UTF-8 cannot encode.
    """
    column: list[str | None] = in_a_list(as_list(values))
    if not column:
        raise ValueError(f"Expected {what}s to be a non-empty list, got {len(column)} {what}s")
    for kind in set(map(type, column)):
        if not issubclass(kind, str | type(None)):
            row, culprit = next(
                (row, value) for row, value in enumerate(column) if type(value) is kind
            )
            raise with_way_out(
                ValueError(f"Expected {what} to be a str, got {brief(culprit)}"),
                f"That is {with_article(kind)}, at position {row}.",
            )
        if kind is not str and kind is not type(None):
            column = [plain_text(text) if type(text) is kind else text for text in column]  # type: ignore[arg-type]
    check_texts(column, what)
    return column
