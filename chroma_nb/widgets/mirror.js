// A panel's controls as native elements: see mirror.py. `model.get("tree")` is {root, nodes: {id: node}}.

// What our templates are made of. Nothing else becomes an element, whatever a text says.
const ELEMENTS = new Set(("DIV P SPAN STRONG B EM SMALL MARK CODE PRE UL OL LI TABLE CAPTION THEAD TBODY TR TH TD " +
  "DETAILS SUMMARY METER PROGRESS IMG").split(" "));
const ATTRIBUTES = new Set("class scope min max value low high optimum alt width title open".split(" "));
// The one style that a template's element keeps: the dot of a legend (map_legend.html).
const DOT = /^display:inline-block;width:10px;height:10px;border-radius:5px;margin-right:4px;background:#[0-9a-f]{6}$/;

function copied(from, into) {
  for (const child of from.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) {
      into.append(child.data);
    } else if (child.nodeType === Node.ELEMENT_NODE && ELEMENTS.has(child.tagName)) {
      const made = document.createElement(child.tagName);
      for (const {name, value} of child.attributes) {
        if (ATTRIBUTES.has(name) || (name === "src" && value.startsWith("data:image/png;base64,"))) {
          made.setAttribute(name, value);
        } else if (name === "style" && DOT.test(value)) {
          made.style.cssText = value;
        }
      }
      copied(child, made);
      into.append(made);
    }
  }
}

function fill(element, html) {
  element.replaceChildren();
  // A document of its own, in which nothing runs or loads.
  copied(new DOMParser().parseFromString(html, "text/html").body, element);
}

const make = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);
const number = (value) => String(Number(Number(value).toPrecision(6)));

// Each kind returns its element and how it takes on what a node says.
const KINDS = {
  html() {
    const element = make("div");
    let shown = null;
    return {element, take(node) {
      if (node.value !== shown) fill(element, shown = node.value);
    }};
  },
  label() {
    const element = make("span");
    return {element, take(node) { element.textContent = node.value; }};
  },
  other() { return KINDS.label(); },
  button(send) {
    const element = make("button", {type: "button"});
    element.addEventListener("click", () => send({click: true}));
    return {element, take(node) {
      element.textContent = node.description;
      element.disabled = node.disabled;
      element.title = node.tooltip || "";
      if (node.tooltip) element.setAttribute("aria-label", node.tooltip);
    }};
  },
  toggle(send) {
    const element = make("button", {type: "button"});
    element.addEventListener("click", () => send({value: element.getAttribute("aria-pressed") !== "true"}));
    return {element, take(node) {
      element.textContent = node.description;
      element.disabled = node.disabled;
      element.setAttribute("aria-pressed", String(node.value));
    }};
  },
  check(send) {
    const input = make("input", {type: "checkbox"});
    const text = make("span");
    const element = make("label", {className: "cnb-control"});
    element.append(input, text);
    input.addEventListener("change", () => send({value: input.checked}));
    return {element, take(node) {
      text.textContent = node.description;
      input.checked = node.value;
      input.disabled = node.disabled;
    }};
  },
  text(send) { return typed(make("input", {type: "text"}), send); },
  lines(send) { return typed(make("textarea"), send); },
  suggested(send) {
    const input = make("input", {type: "text"});
    const list = make("datalist", {id: `cnb-list-${Math.random().toString(36).slice(2)}`});
    input.setAttribute("list", list.id);
    // Not every browser says "change" when one of the list is taken.
    input.addEventListener("input", () => {
      if ([...list.options].some((one) => one.value === input.value)) send({value: input.value});
    });
    const {element, take} = typed(input, send);
    element.append(list);
    let offered = null;
    return {element, take(node) {
      const options = JSON.stringify(node.options);
      if (options !== offered) list.replaceChildren(...node.options.map((value) => make("option", {value})));
      offered = options;
      take(node);
    }};
  },
  day(send) {
    const input = make("input", {type: "date"});
    input.addEventListener("change", () => {
      // Half a day is not one yet.
      if (!input.validity.badInput) send({value: input.value || null});
    });
    input.addEventListener("blur", () => {
      if (!input.validity.badInput) return;
      input.value = "";
      send({value: null});
    });
    return labelled(input, (node) => {
      input.min = node.min || "";
      input.max = node.max || "";
      if (!isActive(input)) input.value = node.value || "";
    });
  },
  number(send) {
    const input = make("input", {type: "number"});
    input.addEventListener("change", () => send({value: input.valueAsNumber}));
    return labelled(input, (node) => {
      for (const name of ["min", "max", "step"]) if (node[name] != null) input[name] = node[name];
      if (!isActive(input)) input.value = node.value;
    });
  },
  choice(send) {
    const input = make("select");
    let shown = "";
    input.addEventListener("change", () => send({value: input.selectedIndex}));
    return labelled(input, (node) => {
      const options = JSON.stringify(node.options);
      if (options !== shown) {
        shown = options;
        input.replaceChildren(...node.options.map((label) => make("option", {textContent: label})));
      }
      input.selectedIndex = node.index ?? -1;
    });
  },
  steps(send) {
    const input = make("input", {type: "range", min: 0, step: 1});
    const output = make("output");
    let options = [];
    const say = () => {
      output.textContent = options[input.value] ?? "";
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.addEventListener("input", say);
    input.addEventListener("change", () => send({value: Number(input.value)}));
    return labelled(input, (node) => {
      options = node.options;
      input.max = Math.max(0, options.length - 1);
      input.value = node.index ?? 0;
      say();
    }, output);
  },
  slider(send) {
    const input = make("input", {type: "range"});
    const output = make("output");
    const say = () => { output.textContent = number(input.value); };
    input.addEventListener("input", say);
    input.addEventListener("change", () => send({value: input.valueAsNumber}));
    return labelled(input, (node) => {
      limits(input, node);
      input.value = node.value;
      say();
    }, output);
  },
  span(send) {
    const ends = ["from", "to"].map((name) => {
      const input = make("input", {type: "range"});
      input.setAttribute("aria-label", name);
      return input;
    });
    const [low, high] = ends;
    const output = make("output");
    const values = () => ends.map((input) => input.valueAsNumber).sort((a, b) => a - b);
    const say = () => { output.textContent = values().map(number).join(" – "); };
    for (const input of ends) {
      input.addEventListener("input", say);
      input.addEventListener("change", () => send({value: values()}));
    }
    const element = make("span", {className: "cnb-control"});
    element.setAttribute("role", "group");
    const text = make("span");
    element.append(text, low, high, output);
    return {element, take(node) {
      text.textContent = node.description;
      element.setAttribute("aria-label", node.description || "range");
      ends.forEach((input, at) => {
        limits(input, node);
        input.value = node.value[at];
        input.disabled = node.disabled;
      });
      say();
    }};
  },
  row() { return box("cnb-row"); },
  column() { return box("cnb-column"); },
};

function limits(input, node) {
  input.min = node.min;
  input.max = node.max;
  // Any value is allowed: the ends of a range of floats are no multiples of its step.
  input.step = Number.isInteger(node.min) && Number.isInteger(node.step) ? node.step : "any";
}

function isActive(input) {
  return input.getRootNode().activeElement === input;
}

function typed(input, send) {
  let live = true;
  let timer = 0;
  const say = () => {
    clearTimeout(timer);
    send({value: input.value});
  };
  input.addEventListener("input", () => {
    clearTimeout(timer);
    // A message for each key would come faster than a kernel takes them.
    if (live) timer = setTimeout(say, 150);
  });
  input.addEventListener("change", say);
  return labelled(input, (node) => {
    live = node.continuous_update;
    input.placeholder = node.placeholder || "";
    // What somebody types now is newer than what comes back.
    if (!isActive(input) && input.value !== node.value) input.value = node.value;
  });
}

function labelled(input, take, ...more) {
  const text = make("span");
  const element = make("label", {className: "cnb-control"});
  element.append(text, input, ...more);
  return {element, take(node) {
    text.textContent = node.description;
    if (node.description) input.setAttribute("aria-label", node.description);
    text.style.minWidth = /^\d+px$/.test(node.label_width || "") ? node.label_width : "";
    input.disabled = node.disabled;
    take(node);
  }};
}

function box(className) {
  const element = make("div", {className});
  return {element, take(node, child) {
    const wanted = node.children.map(child).filter(Boolean);
    const isSame = wanted.length === element.children.length && wanted.every((one, at) => element.children[at] === one);
    // Moving an element takes the focus from it.
    if (!isSame) element.replaceChildren(...wanted);
  }};
}

function render({model, el}) {
  const panel = make("div", {className: "cnb-panel"});
  el.append(panel);
  const made = new Map();

  function elementOf(id, nodes) {
    const node = nodes[id];
    if (!node) return null;
    let one = made.get(id);
    if (!one || one.kind !== node.kind) {
      const kind = KINDS[node.kind] ? node.kind : "other";
      one = {kind: node.kind, ...KINDS[kind]((what) => model.send({id, ...what}))};
      made.set(id, one);
    }
    one.take(node, (child) => elementOf(child, nodes));
    one.element.hidden = Boolean(node.hidden);
    if (/^\d+px$/.test(node.width || "")) one.element.style.width = node.width;
    return one.element;
  }

  function show() {
    const {root, nodes} = model.get("tree");
    const element = elementOf(root, nodes);
    if (panel.firstElementChild !== element) panel.replaceChildren(...(element ? [element] : []));
    for (const id of [...made.keys()]) if (!nodes[id]) made.delete(id);
  }

  show();
  model.on("change:tree", show);
  const end = onTheme(el, () => {
    panel.style.colorScheme = isLight(getComputedStyle(el).color) ? "dark" : "light";
  });
  return () => {
    model.off("change:tree", show);
    end();
  };
}

export default {render};
