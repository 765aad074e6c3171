// Put before mirror.js, table.js and page_ground.js.

// What a canvas makes of any notation of a colour: red, green, blue and opacity, each 0 to 255.
function pixel(color) {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const context = canvas.getContext("2d");
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data];
}

// Where a page's text is light, its theme is dark: all front ends have that in common.
function isLight(color) {
  const [red, green, blue] = pixel(color);
  return red + green + blue > 384;
}

// Calls `look` as soon as an element is on the page, and whenever the page's theme may have changed. Returns what ends that.
function onTheme(el, look) {
  let timers = [];
  function soon() {
    timers.forEach(clearTimeout);
    if (!el.isConnected) {
      // A busy page makes an element long before it puts it anywhere.
      timers = [setTimeout(soon, 200)];
      return;
    }
    look();
    // A theme may fade in, and on a busy page it comes seconds later in ways that nothing tells of.
    timers = [60, 500, 2000, 5000, 15000, 40000].map((milliseconds) => setTimeout(look, milliseconds));
  }
  const observer = new MutationObserver(soon);
  for (const one of [document.documentElement, document.body]) observer.observe(one, {attributes: true});
  // A page names its theme before the style sheet is there.
  document.addEventListener("load", soon, true);
  soon();
  return () => {
    observer.disconnect();
    document.removeEventListener("load", soon, true);
    timers.forEach(clearTimeout);
  };
}
