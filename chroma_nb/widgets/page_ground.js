// Says which colour the page has behind a panel, now and whenever its theme changes: see page_ground.py. Uses themes.js.

function groundOf(el) {
  for (let one = el; one; one = one.parentElement || one.getRootNode().host) {
    const [red, green, blue, opacity] = pixel(getComputedStyle(one).backgroundColor);
    if (opacity > 250) return "#" + [red, green, blue].map((part) => part.toString(16).padStart(2, "0")).join("");
  }
  // Nothing is painted: light text stands on something dark.
  return isLight(getComputedStyle(el).color) ? "#1e1e1e" : "#ffffff";
}

function render({model, el}) {
  el.style.display = "none";
  return onTheme(el, () => {
    const ground = groundOf(el);
    if (ground === model.get("ground")) return;
    model.set("ground", ground);
    model.save_changes();
  });
}

export default {render};
