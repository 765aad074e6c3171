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
  const look = () => {
    if (!el.isConnected) return;
    const ground = groundOf(el);
    if (ground === model.get("ground")) return;
    model.set("ground", ground);
    model.save_changes();
  };
  let timers = [];
  const soon = () => {
    timers.forEach(clearTimeout);
    // A page names its theme before its style sheet is there, which takes some time and says nothing.
    timers = [0, 60, 500].map((milliseconds) => setTimeout(look, milliseconds));
  };
  const themes = new MutationObserver(soon);
  for (const one of [document.documentElement, document.body]) themes.observe(one, {attributes: true});
  soon();
  return () => {
    themes.disconnect();
    timers.forEach(clearTimeout);
  };
}

export default {render};
