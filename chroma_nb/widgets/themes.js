// Put before mirror.js and table.js. Where a page's text is light, its theme is dark: all front ends have that in common.
// A canvas knows every notation of colours.
function isLight(color) {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const context = canvas.getContext("2d");
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
  return red + green + blue > 384;
}

