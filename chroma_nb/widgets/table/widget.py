"""`TableWidget`: records in a table to sort, filter, page, choose from, copy and edit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from chroma_nb.display.words import shorten
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.harmless import clean
from chroma_nb.validation.ids import check_query_ids
from chroma_nb.widgets.linking import SelectingPanel
from chroma_nb.widgets.table.columns import columns_named
from chroma_nb.widgets.table.copying import as_csv, as_json
from chroma_nb.widgets.table.drawing import cut, place_line, row, snapshot, whole_record
from chroma_nb.widgets.table.editing import Change, Draft, Edits, said
from chroma_nb.widgets.table.front_end import new_front_end
from chroma_nb.widgets.table.media import Media
from chroma_nb.widgets.table.sources import Page, Question, Record, Source
from chroma_nb.words import brief, counted

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd

    from chroma_nb.collection.results import GetResult
    from chroma_nb.widgets.table.columns import Column

#: Rows of a page that can be chosen.
PAGE_SIZES = (10, 25, 50, 100)
#: Metadata keys that are shown at first; the others can be chosen.
_SHOWN_KEYS = 8
#: Columns that can be shown at once.
_MOST_SHOWN = 30
#: Rows that can be selected, whose ids are kept.
_MOST_SELECTED = 10_000


class TableWidget(SelectingPanel):
    """A live table of records. One page at a time is in the browser.

    Args:
        source: Where the rows come from.
        records: What a snapshot makes of a page.
        columns: The columns shown at first: ``id``, ``document``, ``uri``, metadata keys, and of a query's answer
            ``query``, ``rank``, ``distance``, or ``search``, ``rank``, ``score``, ``rank by words``. None chooses.
        page_size: Rows of a page: 10, 25, 50 or 100.
        edits: What changes records; None where nothing can be changed.
        thumbnails: False, True, or a folder; see `Media`.

    Raises:
        InvalidArgumentError: There is no such column, page size or folder.
    """

    _packages: ClassVar[tuple[str, ...]] = ("ipywidgets", "anywidget")
    _install: ClassVar[str] = '"chroma-nb[table]"'
    _has_status: ClassVar[bool] = False

    def __init__(
        self,
        source: Source,
        records: type[GetResult],
        *,
        columns: Sequence[str] | None = None,
        page_size: int = 25,
        edits: Edits | None = None,
        thumbnails: bool | str | os.PathLike[str] = False,
    ) -> None:
        if isinstance(page_size, bool) or page_size not in PAGE_SIZES:
            raise InvalidArgumentError(
                f"Expected page_size to be one of {', '.join(map(str, PAGE_SIZES))}, got {brief(page_size, quoted=True)}."
            )
        self._media = Media(thumbnails)
        self._source = source
        self._records = records
        self._edits = edits
        self._page_size = page_size
        self._offset = 0
        self._contains = ""
        self._order: tuple[str, bool] | None = None
        self._columns = source.columns()
        self._show_columns(columns)
        self._page = Page([], None, False)
        #: What was asked for the page that is shown, and how its columns looked.
        self._answered: tuple[int, int, str, tuple[str, bool] | None] = (0, page_size, "", None)
        self._looks: dict[str, Column] = {}
        #: Row -> id, in the order in which they were selected.
        self._selected: dict[str, str] = {}
        self._chosen: str | None = None
        #: The chosen record, whole, as it was when the page was read.
        self._whole: Record | None = None
        self._anchor: str | None = None
        self._draft: Draft | None = None
        self._change: Change | None = None
        self._message = ""
        self._done = ""
        self._only: list[str] | None = None
        self._look()
        super().__init__()
        if self._root is not None:
            self._push()

    def __repr__(self) -> str:
        total = "" if self._page.total is None else f", {counted(self._page.total, 'record')}"
        return f"TableWidget({shorten(self._source.title, 40)!r}{total})"

    def _build(self, w: Any) -> Any:
        return self._front()

    def _mirror_of(self, root: Any) -> Any:
        front = self._front()
        self._set(front, "state", self._state())
        return front

    def _front(self) -> Any:
        """Return a front end that is heard. One in marimo is another than Jupyter's, and all show the same."""
        front = new_front_end()
        heard = self._safely(self._hear)
        front.on_msg(lambda widget, message, buffers: heard(widget, message))
        return front

    def _snapshot(self) -> str:
        shown = [one for one in self._columns if one.shown]
        return snapshot(self._records, f"{self._source.title}: {self._place()}", shown, self._page)

    # -- what somebody else asks --------------------------------------------------------------

    @property
    def selected(self) -> list[str]:
        """The ids of the selected records, in the order in which they were selected."""
        return list(dict.fromkeys(self._selected.values()))

    def selection(self) -> GetResult:
        """Return the selected records."""
        return self._source.selection(list(self._selected))

    def to_pandas(self) -> pd.DataFrame:
        """Return the selected records as a table."""
        return self.selection().to_pandas()

    @property
    def code(self) -> str:
        """The calls that give the page that is shown; empty for a result, which is there already."""
        return self._page.code

    @property
    def only(self) -> list[str] | None:
        """The ids of the only records that are in the table; None: all. Assign some, or None."""
        return None if self._only is None else list(self._only)

    @only.setter
    def only(self, ids: Iterable[str] | None) -> None:
        if ids is not None:
            ids = check_query_ids(ids if isinstance(ids, str) else list(dict.fromkeys(ids)))
        with self._lock:
            if not self._closed:
                self._show_only(ids)

    def _show_only(self, ids: list[str] | None) -> None:
        before, self._only = self._only, ids
        try:
            self._offset = 0
            self._look()
        except BaseException:
            self._only = before
            raise
        there = None if ids is None else set(ids)
        self._selected = {
            key: one for key, one in self._selected.items() if there is None or one in there
        }
        self._show()
        self._tell()

    def _selected_ids(self) -> list[str]:
        return self.selected

    def _show_selected(self, ids: list[str]) -> None:
        self._selected = {}
        self._show_only(ids or None)

    def refresh(self) -> None:
        """Ask again: what has been written since is shown."""
        with self._lock:
            if self._closed:
                return
            self._source.forget()
            self._renew_columns()
            self._look()
            self._show()

    # -- looking ------------------------------------------------------------------------------

    def _show_columns(self, wanted: Sequence[str] | None) -> None:
        """Choose the columns that are shown at first."""
        if wanted is None:
            keys = [one for one in self._columns if one.part == "metadata"]
            for column in keys[_SHOWN_KEYS:]:
                column.shown = False
            if self._media.wanted:
                for column in self._columns:
                    column.shown = column.shown or column.part == "uri"
            return
        names = [wanted] if isinstance(wanted, str) else list(wanted)
        chosen = columns_named(names, self._columns, self._source.aliases)
        if not 1 <= len(names) <= _MOST_SHOWN:
            raise InvalidArgumentError(f"Expected 1 to {_MOST_SHOWN} columns, got {len(names):,}.")
        for column in self._columns:
            column.shown = column in chosen
        self._columns = chosen + [one for one in self._columns if one not in chosen]

    def _renew_columns(self) -> None:
        """Ask for the columns again; what was chosen of them stays, and they stay in their places."""
        new = {one.name: one for one in self._source.columns()}
        old = {one.name: one for one in self._columns}
        for name, column in new.items():
            if name in old:
                column.keep_looks_of(old[name])
            elif column.part == "metadata":
                column.shown = sum(one.shown for one in old.values()) < _SHOWN_KEYS
        # A key that no record has any more is kept as long as something is asked of it.
        kept = [
            new.get(name, column) for name, column in old.items() if name in new or column.condition
        ]
        self._columns = kept + [one for name, one in new.items() if name not in old]
        if self._order is not None and self._order[0] not in {one.name for one in self._columns}:
            self._order = None

    def _question(self) -> Question:
        asked = [one for one in self._columns if one.condition is not None]
        order = None if self._order is None else self._column(self._order[0])
        descending = bool(self._order and self._order[1])
        return Question(asked, self._contains, order, descending, self._only)

    def _look(self) -> None:
        """Read the page, or the last one where there is none so far back.

        Where that fails, what is asked is again what the page that is still shown answers.
        """
        try:
            page = self._read()
            whole = None if self._chosen is None else self._source.record(self._chosen)
        except BaseException:
            self._offset, self._page_size, self._contains, self._order = self._answered
            for column in self._columns:
                if column.name in self._looks:
                    column.keep_looks_of(self._looks[column.name])
            raise
        self._page, self._whole = page, whole
        self._answered = self._offset, self._page_size, self._contains, self._order
        self._looks = {one.name: replace(one) for one in self._columns}

    def _read(self) -> Page:
        question = self._question()
        documents = any(one.part == "document" and one.shown for one in self._columns)
        page = self._source.page(question, self._offset, self._page_size, documents=documents)
        if not page.records and self._offset:
            self._source.forget()
            self._offset = page.last_offset(self._page_size) or 0
            page = self._source.page(question, self._offset, self._page_size, documents=documents)
        return page

    def _column(self, name: Any) -> Column:
        for column in self._columns:
            if column.name == name:
                return column
        raise InvalidArgumentError("This column is not there any more. Press Refresh.")

    def _on_page(self, key: Any) -> Record | None:
        return next((one for one in self._page.records if one.key == key), None)

    # -- showing ------------------------------------------------------------------------------

    def _say(self, message: str) -> None:
        self._message = clean(message)
        if message:
            self._push()

    def _show(self) -> None:
        self._push()
        self._update_snapshots()

    def _push(self) -> None:
        state = self._state()
        for front in (self._root, *(one for place in self._mirrors for one in place)):
            self._set(front, "state", state)

    def _place(self) -> str:
        elsewhere = None if self._only is None else len(self._only)
        return place_line(self._page, self._offset, self._is_filtered, elsewhere)

    @property
    def _is_filtered(self) -> bool:
        return bool(self._contains) or any(one.condition for one in self._columns)

    def _state(self) -> dict[str, Any]:
        """Return everything that the browser draws: texts that are safe to show, never markup."""
        shown = [one for one in self._columns if one.shown]
        last = self._page.last_offset(self._page_size)
        return {
            "title": self._source.title,
            "place": self._place(),
            "first": self._offset == 0,
            "last": not self._page.more,
            "page_size": self._page_size,
            "page_sizes": list(PAGE_SIZES),
            "page_number": self._offset // self._page_size + 1,
            "pages": None if last is None else last // self._page_size + 1,
            "columns": [one.described() for one in self._columns],
            "order": None
            if self._order is None
            else {"name": self._order[0], "down": self._order[1]},
            "can_sort": self._source.can_sort,
            "can_search": any(one.part == "document" for one in self._columns),
            "contains": self._contains,
            "filtered": self._is_filtered or self._only is not None,
            "rows": [
                row(one, shown, self._media) | {"selected": one.key in self._selected}
                for one in self._page.records
            ],
            "chosen": self._chosen,
            "record": self._record(),
            "selected": len(self._selected),
            "code": self._page.code,
            "note": self._source.note,
            "message": self._message,
            "done": self._done,
            "editable": self._edits is not None,
            "undo": self._undo_label(),
            "draft": None if self._draft is None else self._draft.described(),
            "change": None if self._change is None else self._change.described(),
        }

    def _record(self) -> dict[str, Any] | None:
        """Return the chosen record, with its whole text."""
        if self._chosen is None:
            return None
        if self._whole is None:
            return {"key": self._chosen, "id": "", "gone": True}
        return whole_record(self._whole, self._media)

    def _undo_label(self) -> str:
        last = self._edits.last if self._edits is not None else None
        if last is None or self._edits is None:
            return ""
        return f"Undo {cut(last.key, 24)} of {cut(last.seen.id, 24)}"

    # -- acting -------------------------------------------------------------------------------

    def _hear(self, front: Any, message: Any) -> None:
        """Do what somebody asks for in the browser; what is to be said to this front end alone is sent to it."""
        act = _ACTS.get(message.get("do")) if isinstance(message, dict) else None
        if act is None:
            raise InvalidArgumentError(
                "The page asks for something that this table does not do. Reload it."
            )
        self._done = ""
        if (answer := act(self, message)) is not None:
            front.send(answer)

    def _again(self, *, from_start: bool = True) -> None:
        if from_start:
            self._offset = 0
        self._look()
        self._show()

    def _turn(self, message: Mapping[str, Any]) -> None:
        number = message.get("to")
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise InvalidArgumentError(f"There is no page {brief(number, 20)}.")
        self._offset = (number - 1) * self._page_size
        last = self._page.last_offset(self._page_size)
        self._offset = self._offset if last is None else min(self._offset, last)
        self._again(from_start=False)

    def _resize(self, message: Mapping[str, Any]) -> None:
        if message.get("n") not in PAGE_SIZES:
            raise InvalidArgumentError("There is no such page size.")
        self._page_size = int(message["n"])
        self._offset -= self._offset % self._page_size
        self._again(from_start=False)

    def _sort(self, message: Mapping[str, Any]) -> None:
        column = self._column(message.get("column"))
        if not self._source.can_sort:
            raise InvalidArgumentError(self._source.note)
        if self._order is None or self._order[0] != column.name:
            self._order = column.name, False
        else:
            # Up, down, and as it was.
            self._order = None if self._order[1] else (column.name, True)
        self._again()

    def _search(self, message: Mapping[str, Any]) -> None:
        text = message.get("text")
        self._contains = text if isinstance(text, str) else ""
        self._again()

    def _filter(self, message: Mapping[str, Any]) -> None:
        self._column(message.get("column")).ask(message)
        self._again()

    def _clear(self, message: Mapping[str, Any]) -> None:
        self._contains, self._only = "", None
        for column in self._columns:
            column.condition = None
        self._again()

    def _choose_columns(self, message: Mapping[str, Any]) -> None:
        column = self._column(message.get("column"))
        shown = bool(message.get("shown"))
        n = sum(one.shown for one in self._columns)
        if shown and not column.shown and n >= _MOST_SHOWN:
            raise InvalidArgumentError(
                f"A table shows {_MOST_SHOWN} columns at most. Hide another one first."
            )
        if not shown and column.shown and n == 1:
            raise InvalidArgumentError("A table shows one column at least.")
        column.shown = shown
        self._again(from_start=False)

    def _widen(self, message: Mapping[str, Any]) -> None:
        """Remember how wide the columns were made."""
        widths = message.get("widths")
        if not isinstance(widths, dict):
            raise InvalidArgumentError("There are no such widths.")
        for name, width in widths.items():
            self._column(name).widen(width)
        self._push()

    def _choose(self, message: Mapping[str, Any]) -> None:
        """Choose a row: it is shown beside the table, and selected alone, or too, or with those between."""
        # The page may have turned meanwhile: the record is meant, wherever it is.
        record = self._source.record(str(message.get("key")))
        if record is None:
            raise InvalidArgumentError("This record is not there any more.")
        how = message.get("how")
        keys = [one.key for one in self._page.records]
        if how == "toggle":
            if self._selected.pop(record.key, None) is None:
                self._select([record])
        elif how == "range" and self._anchor in keys and record.key in keys:
            first, last = sorted((keys.index(self._anchor), keys.index(record.key)))
            self._select(self._page.records[first : last + 1])
        else:
            self._selected = {}
            self._select([record])
        if how != "range":
            self._anchor = record.key
        self._chosen, self._whole = record.key, record
        self._selection_changed()

    def _select(self, records: Sequence[Record]) -> None:
        if len(self._selected) + len(records) > _MOST_SELECTED:
            raise InvalidArgumentError(
                f"A table selects {_MOST_SELECTED:,} records at most. Filter, and take all that match with the call below."
            )
        self._selected |= {one.key: one.id for one in records}

    def _select_page(self, message: Mapping[str, Any]) -> None:
        if message.get("on"):
            self._select(self._page.records)
        else:
            for one in self._page.records:
                self._selected.pop(one.key, None)
        self._selection_changed()

    def _select_none(self, message: Mapping[str, Any]) -> None:
        self._selected = {}
        self._selection_changed()

    def _selection_changed(self) -> None:
        self._push()
        self._tell()

    def _unchoose(self, message: Mapping[str, Any]) -> None:
        self._chosen = self._whole = None
        self._push()

    def _copy(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return a text for the clipboard."""
        what = message.get("what")
        record = self._source.record(str(message.get("key"))) if what != "csv" else None
        if what != "csv" and record is None:
            raise InvalidArgumentError("This record is not there any more.")
        if what == "id" and record is not None:
            text, name = record.id, "the id"
        elif what == "row" and record is not None:
            text, name = as_json(record), "the record as JSON"
        else:
            rows = [self._source.record(key) for key in self._selected]
            records = [one for one in rows if one is not None] or self._page.records
            shown = [one for one in self._columns if one.shown]
            text, name = as_csv(shown, records), f"{counted(len(records), 'record')} as CSV"
        return {"copy": text, "name": name}

    def _ask_again(self, message: Mapping[str, Any]) -> None:
        self.refresh()

    # -- editing ------------------------------------------------------------------------------

    def _editor(self) -> Edits:
        if self._edits is None:
            raise InvalidArgumentError(
                "This table changes nothing. One that does: collection.table(editable=True)"
            )
        return self._edits

    def _edit(self, message: Mapping[str, Any]) -> None:
        """Begin to change a value."""
        edits = self._editor()
        self._draft = self._change = None
        column = self._column(message.get("column"))
        record = self._on_page(message.get("key"))
        if column.part != "metadata" or record is None:
            raise InvalidArgumentError(
                "Only metadata of a record on this page can be changed here."
            )
        try:
            self._draft = edits.start(record, column.key)
        except InvalidArgumentError:
            # It is shown as it is now.
            self._look()
            raise
        self._push()

    def _propose(self, message: Mapping[str, Any]) -> None:
        """Ask whether it is meant."""
        if self._draft is None:
            raise InvalidArgumentError("There is nothing to change: double-click a value first.")
        text, kind = message.get("text"), message.get("kind")
        self._change = self._editor().propose(self._draft, str(text), str(kind))
        self._push()

    def _save(self, message: Mapping[str, Any]) -> None:
        change, self._change, self._draft = self._change, None, None
        if change is None:
            raise InvalidArgumentError("There is no change to save.")
        try:
            self._editor().apply(change)
        finally:
            self._after_edit()
        self._done = f"Saved: {cut(change.key, 60)} of {cut(change.seen.id, 60)} is {cut(said(change.new), 80)}."
        self._show()

    def _cancel(self, message: Mapping[str, Any]) -> None:
        self._draft = self._change = None
        self._push()

    def _undo(self, message: Mapping[str, Any]) -> None:
        self._draft = self._change = None
        try:
            change = self._editor().undo()
        finally:
            self._after_edit()
        self._done = f"Taken back: {cut(change.key, 60)} of {cut(change.seen.id, 60)} is {cut(said(change.old), 80)} again."
        self._show()

    def _after_edit(self) -> None:
        self._source.forget()
        self._renew_columns()
        self._look()


_ACTS: dict[Any, Callable[[TableWidget, Mapping[str, Any]], dict[str, Any] | None]] = {
    "turn": TableWidget._turn,
    "resize": TableWidget._resize,
    "sort": TableWidget._sort,
    "search": TableWidget._search,
    "filter": TableWidget._filter,
    "clear": TableWidget._clear,
    "columns": TableWidget._choose_columns,
    "widths": TableWidget._widen,
    "choose": TableWidget._choose,
    "select_page": TableWidget._select_page,
    "select_none": TableWidget._select_none,
    "unchoose": TableWidget._unchoose,
    "copy": TableWidget._copy,
    "refresh": TableWidget._ask_again,
    "edit": TableWidget._edit,
    "propose": TableWidget._propose,
    "save": TableWidget._save,
    "cancel": TableWidget._cancel,
    "undo": TableWidget._undo,
}
