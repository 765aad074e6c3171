// Draws the state that Python sends, and sends back what somebody does. Every text becomes a text node or a value;
// nothing is ever read as markup. An address is used only where Python calls it a medium.

const TYPED_MS = 300;
const WIDTHS = { id: 130, document: 210, uri: 150, metadata: 96, number: 96 };
const NARROWEST = 48;

function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && !name.includes("-") && name !== "list") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((one) => one !== null && one !== undefined && one !== ""));
  return node;
}

function button(label, act, properties = {}) {
  return h("button", { type: "button", onclick: act, ...properties }, label);
}

function later(act) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), TYPED_MS);
  };
}

// What somebody is typing in is left alone.
function setValue(input, value) {
  if (document.activeElement !== input && input.getRootNode().activeElement !== input) input.value = value;
}

function medium(what, name) {
  const address = h("a", {
    href: what.src, target: "_blank", rel: "noopener noreferrer", referrerPolicy: "no-referrer",
    onclick: (event) => event.stopPropagation(),
  }, "open link");
  if (what.kind === "link") return address;
  if (what.kind === "audio") {
    return h("audio", {
      controls: true, preload: "none", src: what.src, "aria-label": `audio of ${name}`,
      onclick: (event) => event.stopPropagation(),
    });
  }
  const image = h("img", { alt: `image of ${name}`, loading: "lazy", decoding: "async", referrerPolicy: "no-referrer" });
  image.addEventListener("error", () => image.replaceWith(h("span", { className: "faint" }, "(no image)")));
  image.src = what.src;
  return image;
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function render({ model, el }) {
  const send = (what, more = {}) => model.send({ do: what, ...more });
  const widths = new Map();
  const root = h("div", { className: "cnb-table" });
  const drawn = {};
  let open = "";

  // -- above the table ---------------------------------------------------------------------

  const search = h("input", {
    type: "search", placeholder: "text contains", "aria-label": "text contains, upper and lower case as written",
    title: "upper and lower case as written",
    oninput: later(() => send("search", { text: search.value })),
    onkeydown: (event) => event.stopPropagation(),
  });
  const drawer = (name) => button(name, () => { open = open === name ? "" : name; draw(); }, { "aria-expanded": "false" });
  const filtersButton = drawer("Filters");
  const columnsButton = drawer("Columns");
  const clear = button("Clear filters", () => { search.value = ""; drawn.filters = ""; send("clear"); });
  const undo = button("", () => send("undo"), { className: "undo" });
  const refresh = button("Refresh", () => send("refresh"));
  const title = h("span", { className: "title" });
  const bar = h("div", { className: "bar" }, title, search, filtersButton, columnsButton, clear, refresh, undo);
  const filters = h("div", { className: "drawer", role: "group", "aria-label": "filters" });
  const columns = h("div", { className: "drawer", role: "group", "aria-label": "columns" });
  const editor = h("div", { className: "editor" });
  const alert = h("p", { className: "alert", role: "alert" });
  const done = h("p", { className: "done", role: "status" });
  const manual = h("div", { className: "drawer" });

  // -- the table ---------------------------------------------------------------------------

  const group = h("colgroup");
  const head = h("tr");
  const body = h("tbody");
  const caption = h("caption");
  const table = h("table", {}, caption, group, h("thead", {}, head), body);
  const scroller = h("div", { className: "scroller", tabIndex: 0, role: "group", "aria-label": "records" }, table);
  const aside = h("div", { className: "record", role: "group", "aria-label": "chosen record", tabIndex: 0 });

  // -- below it ----------------------------------------------------------------------------

  const place = h("span", { className: "place", role: "status" });
  const turn = (label, name, to) => button(label, () => send("turn", { to: to() }), { "aria-label": name, title: name });
  const state = () => model.get("state") || {};
  const first = turn("«", "first page", () => 1);
  const back = turn("‹", "previous page", () => Math.max(1, state().page_number - 1));
  const forward = turn("›", "next page", () => state().page_number + 1);
  const last = turn("»", "last page", () => state().pages || 1);
  const number = h("input", {
    type: "number", min: 1, className: "page", "aria-label": "page",
    onchange: () => number.value && send("turn", { to: Math.max(1, Math.round(Number(number.value))) }),
    onkeydown: (event) => event.stopPropagation(),
  });
  const pages = h("span");
  const size = h("select", { "aria-label": "rows of a page", onchange: () => send("resize", { n: Number(size.value) }) });
  const chosen = h("span", { className: "place", role: "status" });
  const none = button("Select none", () => send("select_none"));
  const csv = button("Copy CSV", () => send("copy", { what: "csv" }));
  const foot = h("div", { className: "bar foot" }, place, h("span", { className: "pager" }, first, back, number, pages, forward, last), size,
    h("span", { className: "push" }), chosen, none, csv);
  const note = h("p", { className: "faint" });
  const code = h("code", { tabIndex: 0, role: "group", "aria-label": "the same as code" });
  const codeBox = h("div", { className: "code" }, h("p", { className: "faint" }, "the same as code:"), h("pre", {}, code));

  root.append(bar, filters, columns, alert, editor, done, manual,
    h("div", { className: "both" }, scroller, aside), foot, note, codeBox);
  el.append(root);

  // -- drawing -----------------------------------------------------------------------------

  function changed(name, value) {
    const text = JSON.stringify(value);
    if (drawn[name] === text) return false;
    drawn[name] = text;
    return true;
  }

  function draw() {
    const now = state();
    if (!now.columns) return;
    const shown = now.columns.filter((one) => one.shown);
    title.textContent = now.title;
    caption.textContent = `${now.title}, ${now.place}`;
    search.hidden = !now.can_search;
    setValue(search, now.contains);
    const asked = now.columns.filter((one) => one.asked).length;
    filtersButton.textContent = asked ? `Filters (${asked})` : "Filters";
    filtersButton.setAttribute("aria-expanded", String(open === "Filters"));
    columnsButton.setAttribute("aria-expanded", String(open === "Columns"));
    clear.hidden = !now.filtered;
    undo.hidden = !now.undo;
    undo.textContent = now.undo;
    filters.hidden = open !== "Filters";
    columns.hidden = open !== "Columns";
    drawFilters(now.columns.filter((one) => one.asks));
    // What could not be done is not shown as done.
    if (now.message) drawn.columns = null;
    drawColumns(now.columns);
    alert.hidden = !now.message;
    if (changed("alert", now.message)) alert.replaceChildren(h("strong", {}, "Not done. "), now.message);
    done.hidden = !now.done;
    done.textContent = now.done;
    drawEditor(now);
    const widened = takeWidths(now);
    drawHead(now, shown);
    if (widened) resize(shown);
    drawRows(now, shown);
    drawRecord(now.record);
    place.textContent = now.place;
    first.disabled = back.disabled = now.first;
    forward.disabled = now.last;
    last.disabled = now.last || !now.pages;
    setValue(number, now.page_number);
    number.max = now.pages || "";
    pages.textContent = now.pages ? `of ${now.pages.toLocaleString("en")}` : "";
    if (changed("sizes", now.page_sizes)) size.replaceChildren(...now.page_sizes.map((n) => h("option", { value: n }, `${n} rows`)));
    size.value = now.page_size;
    chosen.textContent = now.selected ? `${now.selected.toLocaleString("en")} selected` : "";
    none.hidden = !now.selected;
    csv.textContent = now.selected ? "Copy selected as CSV" : "Copy page as CSV";
    note.textContent = now.ended ? "This table is closed: it shows what it showed last." : now.note;
    note.hidden = !note.textContent;
    codeBox.hidden = !now.code;
    code.textContent = now.code;
    root.inert = Boolean(now.ended);
  }

  function drawFilters(asking) {
    // Not while somebody types in one of them: what was typed is on its way.
    if (filters.contains(document.activeElement) && drawn.filters && asking.length === drawn.n && drawn.filters !== "") {
      drawn.stale = true;
      return;
    }
    if (!changed("filters", asking)) return;
    drawn.n = asking.length;
    filters.replaceChildren(...asking.map((one) => {
      const given = h("fieldset", {}, h("legend", { className: one.asked ? "asked" : "" }, one.label));
      const typed = (what, value, placeholder, name) => h("input", {
        type: "text", inputMode: what, value, placeholder, "aria-label": `${one.label} ${name}`,
        oninput: later(() => tell()), onkeydown: (event) => event.stopPropagation(),
      });
      let tell;
      if (one.asks === "range") {
        const low = typed("decimal", one.low, one.lowest, "from");
        const high = typed("decimal", one.high, one.highest, "to");
        tell = () => send("filter", { column: one.name, low: low.value.trim(), high: high.value.trim() });
        given.append(h("span", { className: "range" }, low, "to", high));
      } else if (one.asks === "choice") {
        const boxes = one.choices.map((choice) => [choice.token, h("input", { type: "checkbox", checked: choice.chosen, onchange: () => tell() }), choice]);
        tell = () => send("filter", { column: one.name, chosen: boxes.filter(([, box]) => box.checked).map(([token]) => token) });
        given.append(h("div", { className: "choices", tabIndex: 0, role: "group", "aria-label": `values of ${one.label}` },
          boxes.map(([, box, choice]) => h("label", {}, box, h("span", {}, choice.label), h("span", { className: "count" }, choice.count)))));
      } else {
        const text = typed("text", one.text, "is", "is");
        tell = () => send("filter", { column: one.name, text: text.value });
        given.append(text);
      }
      return given;
    }));
  }
  filters.addEventListener("focusout", () => setTimeout(() => {
    if (drawn.stale && !filters.contains(document.activeElement)) { drawn.stale = false; draw(); }
  }));

  function drawColumns(all) {
    if (!changed("columns", all.map((one) => [one.name, one.label, one.shown]))) return;
    const focused = [...columns.querySelectorAll("input")].indexOf(document.activeElement);
    columns.replaceChildren(...all.map((one) => h("label", {}, h("input", {
      type: "checkbox", checked: one.shown, onchange: (event) => send("columns", { column: one.name, shown: event.target.checked }),
    }), h("span", {}, one.label))));
    if (focused >= 0) columns.querySelectorAll("input")[focused]?.focus();
  }

  function drawHead(now, shown) {
    const all = now.rows.length > 0 && now.rows.every((one) => one.selected);
    if (changed("head", [shown.map((one) => [one.name, one.label, one.asked]), now.order, now.can_sort])) {
      const focused = head.contains(document.activeElement) ? document.activeElement.dataset.name : null;
      group.replaceChildren(h("col", { className: "tick" }), ...shown.map((one) => h("col")));
      const tick = h("input", {
        type: "checkbox", "aria-label": "select all rows of this page", className: "all",
        onchange: (event) => send("select_page", { on: event.target.checked }),
      });
      head.replaceChildren(h("td", { className: "tick" }, tick), ...shown.map((one, at) => {
        const way = now.order && now.order.name === one.name ? (now.order.down ? "descending" : "ascending") : "none";
        const arrow = { ascending: " ▲", descending: " ▼", none: "" }[way];
        const label = [h("span", { className: one.asked ? "label asked" : "label", title: one.asked ? "filtered" : "" }, one.label),
          h("span", { "aria-hidden": "true" }, arrow)];
        return h("th", { scope: "col", className: one.number ? "n" : "", "aria-sort": now.can_sort ? way : null },
          now.can_sort ? h("button", { type: "button", className: "sort", "data-name": one.name, title: "sort: up, down, as it was",
            onclick: () => send("sort", { column: one.name }) }, ...label) : h("span", { className: "sort" }, ...label),
          handle(one, at));
      }));
      if (focused) [...head.querySelectorAll("button")].find((one) => one.dataset.name === focused)?.focus();
      resize(shown);
    }
    const tick = head.querySelector(".all");
    if (tick) tick.checked = all;
  }

  const widthOf = (one) => widths.get(one.name) || WIDTHS[one.part];

  function resize(shown) {
    const columnsOf = [...group.children].slice(1);
    shown.forEach((one, at) => { columnsOf[at].style.width = `${widthOf(one)}px`; });
    table.style.minWidth = `${34 + shown.reduce((sum, one) => sum + widthOf(one), 0)}px`;
    // As wide as was chosen: nothing stretches what somebody has made narrow.
    table.style.width = widths.size ? table.style.minWidth : "";
    [...head.querySelectorAll(".handle")].forEach((one, at) => one.setAttribute("aria-valuenow", widthOf(shown[at])));
  }

  // Python remembers them, so they are the same where the table is shown again. Says whether others came.
  function takeWidths(now) {
    const given = now.columns.filter((one) => one.width).map((one) => [one.name, one.width]);
    // What is being made here now is newer.
    if (telling || !changed("widths", given)) return false;
    widths.clear();
    for (const [name, width] of given) widths.set(name, width);
    return true;
  }

  let telling = 0;
  function tellWidths() {
    clearTimeout(telling);
    telling = setTimeout(() => {
      telling = 0;
      const there = state().columns.filter((one) => widths.has(one.name));
      send("widths", { widths: Object.fromEntries(there.map((one) => [one.name, widths.get(one.name)])) });
    }, TYPED_MS);
  }

  function setWidths(change) {
    // All of them become fixed, or the others would take what this one gives.
    const shown = state().columns.filter((one) => one.shown);
    [...head.children].slice(1).forEach((cell, at) => {
      if (!widths.has(shown[at].name)) widths.set(shown[at].name, Math.round(cell.getBoundingClientRect().width));
    });
    change();
    resize(shown);
  }

  function handle(one, at) {
    const to = (width) => setWidths(() => widths.set(one.name, Math.max(NARROWEST, Math.min(2000, Math.round(width)))));
    const node = h("span", {
      className: "handle", role: "separator", tabIndex: 0, "aria-orientation": "vertical", "aria-label": `width of ${one.label}`,
      "aria-valuenow": widthOf(one), "aria-valuemin": NARROWEST, "aria-valuemax": 2000, title: "drag, or arrow keys: width of the column",
      onkeydown: (event) => {
        const step = { ArrowLeft: -16, ArrowRight: 16 }[event.key];
        if (!step) return;
        event.preventDefault();
        event.stopPropagation();
        to(node.parentElement.getBoundingClientRect().width + step);
        tellWidths();
      },
      onpointerdown: (event) => {
        event.preventDefault();
        const begun = event.clientX, width = node.parentElement.getBoundingClientRect().width;
        node.setPointerCapture(event.pointerId);
        const move = (moved) => to(width + moved.clientX - begun);
        node.addEventListener("pointermove", move);
        node.addEventListener("lostpointercapture", () => {
          node.removeEventListener("pointermove", move);
          tellWidths();
        }, { once: true });
      },
    });
    return node;
  }

  function drawRows(now, shown) {
    const rows = now.rows.map(({ selected, ...one }) => one);
    if (changed("rows", [rows, shown.map((one) => [one.name, one.number]), now.editable])) {
      const focused = body.contains(document.activeElement) && document.activeElement.dataset.focus;
      body.replaceChildren(...now.rows.map((row) => drawRow(row, shown, now.editable)));
      if (!rows.length) body.append(h("tr", {}, h("td", { colSpan: shown.length + 1, className: "empty" }, now.place)));
      if (focused) [...body.querySelectorAll("[data-focus]")].find((one) => one.dataset.focus === focused)?.focus({ preventScroll: true });
      if (changed("page", [now.page_number, now.order, now.contains])) scroller.scrollTop = 0;
    }
    now.rows.forEach((row, at) => {
      const line = body.children[at];
      line.classList.toggle("selected", row.selected);
      line.classList.toggle("current", row.key === now.chosen);
      line.querySelector("input").checked = row.selected;
    });
  }

  function drawRow(row, shown, editable) {
    const choose = (event, how) => send("choose", { key: row.key, how });
    const tick = h("input", {
      type: "checkbox", "aria-label": `select ${row.label}`, "data-focus": `tick ${row.key}`,
      onclick: (event) => event.stopPropagation(), onchange: (event) => choose(event, "toggle"),
    });
    const line = h("tr", {
      onclick: (event) => {
        if (event.detail === 2 || String(getSelection()).length) return;
        choose(event, event.shiftKey ? "range" : event.ctrlKey || event.metaKey ? "toggle" : "only");
      },
      onmousedown: (event) => { if (event.shiftKey) event.preventDefault(); },
    }, h("td", { className: "tick" }, tick));
    row.cells.forEach((cell, at) => {
      const column = shown[at];
      const name = { className: column.number ? "n" : "" };
      const mark = `${column.name} ${row.key}`;
      if (cell.medium) {
        const seen = medium(cell.medium, row.label);
        if (cell.medium.kind === "link") seen.textContent = cell.text;
        line.append(h("td", { className: "medium" }, seen));
      } else if (column.part === "id") {
        line.append(h("td", name, h("button", { type: "button", className: "cell", "data-focus": mark, title: cell.text,
          "aria-label": `show ${cell.text}` }, cell.text)));
      } else if (editable && column.part === "metadata") {
        const edit = () => send("edit", { key: row.key, column: column.name });
        line.append(h("td", { ...name, ondblclick: edit }, h("button", {
          type: "button", className: "cell", "data-focus": mark, title: "double-click or Enter: change",
          "aria-label": `${column.label} of ${row.label}: ${cell.text || "no value"}. Change`,
          onclick: (event) => { if (event.detail === 0) { event.stopPropagation(); edit(); } },
        }, cell.missing ? h("span", { className: "faint" }, "–") : cell.text)));
      } else {
        line.append(h("td", { ...name, title: cell.text.length > 20 ? cell.text : "" }, cell.missing ? h("span", { className: "faint" }, "–") : cell.text));
      }
    });
    return line;
  }

  body.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const cell = event.target.closest("td");
    if (!step || !cell) return;
    const at = [...cell.parentElement.children].indexOf(cell);
    const next = step > 0 ? cell.parentElement.nextElementSibling : cell.parentElement.previousElementSibling;
    event.preventDefault();
    event.stopPropagation();
    next?.children[at]?.querySelector("button, input")?.focus();
  });

  function drawRecord(record) {
    if (!changed("record", record)) return;
    aside.scrollTop = 0;
    if (!record) {
      aside.replaceChildren(h("p", { className: "faint" }, "Choose a row to read its record here, whole."));
    } else if (record.gone) {
      aside.replaceChildren(h("p", { className: "faint" }, "This record is not there any more."));
    } else {
      const copy = (what, label) => button(label, () => send("copy", { what, key: record.key }));
      aside.replaceChildren(
        h("div", { className: "bar" }, h("strong", { className: "id" }, record.id), h("span", { className: "push" }),
          copy("id", "Copy id"), copy("row", "Copy JSON"), button("✕", () => send("unchoose"), { "aria-label": "close the record" })),
        record.medium ? h("div", { className: "medium" }, medium(record.medium, record.id)) : "",
        record.document === null ? h("p", { className: "faint" }, "no document") : h("p", { className: "text" }, record.document),
        h("dl", {}, record.parts.map(([key, value]) => [h("dt", {}, key), h("dd", {}, value)]).flat()),
      );
    }
  }

  function drawEditor(now) {
    if (!changed("editor", [now.draft, now.change])) return;
    const held = editor.contains(document.activeElement);
    editor.hidden = !now.draft;
    if (!now.draft) {
      editor.replaceChildren();
      const mark = drawn.edited;
      if (held && mark) setTimeout(() => [...body.querySelectorAll("[data-focus]")].find((one) => one.dataset.focus === mark)?.focus());
      return;
    }
    drawn.edited = `${now.draft.column} ${now.draft.key}`;
    const cancel = button("Cancel", () => send("cancel"));
    const quit = (event) => {
      event.stopPropagation();
      if (event.key === "Escape") send("cancel");
    };
    if (now.change) {
      const save = button("Save", () => send("save"), { className: "primary" });
      editor.replaceChildren(h("div", { role: "group", "aria-label": "confirm the change", onkeydown: quit },
        h("p", {}, "Change ", h("strong", {}, now.change.label), " of ", h("strong", {}, now.change.id), " from ",
          h("code", {}, now.change.old), " to ", h("code", {}, now.change.new), "?"),
        h("div", { className: "bar" }, save, cancel)));
      save.focus();
      return;
    }
    const text = h("textarea", { value: now.draft.text, rows: Math.min(8, 1 + now.draft.text.split("\n").length - 1), spellcheck: false,
      "aria-label": `new value of ${now.draft.label} of ${now.draft.id}` });
    const kind = h("select", { "aria-label": "kind of the value" }, now.draft.kinds.map((one) => h("option", { value: one }, one)));
    kind.value = now.draft.kind;
    const ask = () => send("propose", { text: text.value, kind: kind.value });
    text.addEventListener("keydown", (event) => {
      quit(event);
      if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); ask(); }
    });
    kind.addEventListener("keydown", quit);
    editor.replaceChildren(h("p", {}, h("strong", {}, now.draft.label), " of ", h("strong", {}, now.draft.id)),
      h("div", { className: "bar" }, text, kind, button("Change…", ask, { className: "primary" }), cancel));
    text.focus();
    text.select();
  }

  // -- hearing -----------------------------------------------------------------------------

  async function heard(message) {
    if (!message || typeof message.copy !== "string") return;
    manual.hidden = true;
    if (await toClipboard(message.copy)) {
      done.hidden = false;
      done.textContent = `Copied ${message.name}.`;
      return;
    }
    const text = h("textarea", { value: message.copy, readOnly: true, rows: 4, "aria-label": `${message.name}, to copy` });
    manual.replaceChildren(h("p", {}, `The browser keeps the clipboard closed here. Copy ${message.name} from this box:`), text,
      button("Close", () => { manual.hidden = true; }));
    manual.hidden = false;
    text.focus();
    text.select();
  }

  function theme() {
    const isDark = isLight(getComputedStyle(root).color);
    root.style.colorScheme = isDark ? "dark" : "light";
    root.classList.toggle("dark", isDark);
  }

  manual.hidden = true;
  draw();
  const end = onTheme(root, theme);
  model.on("change:state", draw);
  model.on("msg:custom", heard);
  return () => {
    end();
    model.off("change:state", draw);
    model.off("msg:custom", heard);
  };
}

export default { render };
