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

