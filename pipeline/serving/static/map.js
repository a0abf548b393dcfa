// The map: one value of the network a field, one scale for all images, drawn over the radiograph.

const WEAK = [255, 190, 60];
const STRONG = [215, 25, 28];

/** Colour of a share of the scale, 0 to 1: see-through where there is no evidence. */
function colour(share, opacity) {
  const [red, green, blue] = WEAK.map((value, channel) => Math.round(value + (STRONG[channel] - value) * share));
  return `rgb(${red} ${green} ${blue} / ${share * opacity})`;
}

const shareOf = (value, [low, high]) => Math.max(0, Math.min(1, (value - low) / Math.max(high - low, 1e-9)));

/** Draw the fields and their grid into a rectangle of the canvas. */
export function draw(context, { grid, scale }, opacity, { x, y, width, height }) {
  const [rows, columns] = [grid.length, grid[0].length];
  const [step, drop] = [width / columns, height / rows];
  grid.forEach((line, row) => line.forEach((value, column) => {
    context.fillStyle = colour(shareOf(value, scale), opacity);
    context.fillRect(x + column * step, y + row * drop, step, drop);
  }));
  const thin = Math.max(1, context.canvas.width / 500);
  for (const [style, line] of [["rgb(0 0 0 / 60%)", 3], ["rgb(255 255 255 / 75%)", 1]]) {
    context.strokeStyle = style;
    context.lineWidth = line * thin;
    context.beginPath();
    for (let column = 0; column <= columns; column += 1) {
      context.moveTo(x + column * step, y);
      context.lineTo(x + column * step, y + height);
    }
    for (let row = 0; row <= rows; row += 1) {
      context.moveTo(x, y + row * drop);
      context.lineTo(x + width, y + row * drop);
    }
    context.stroke();
  }
}

/** Draw the colour bar as the colours look over a mid-grey radiograph. */
export function bar(canvas, opacity) {
  const context = canvas.getContext("2d");
  context.fillStyle = "rgb(110 110 110)";
  context.fillRect(0, 0, canvas.width, canvas.height);
  for (let x = 0; x < canvas.width; x += 1) {
    context.fillStyle = colour(x / (canvas.width - 1), opacity);
    context.fillRect(x, 0, 1, canvas.height);
  }
}

/** The ends of the scale in words. */
export const ends = ([low, high]) => [`${low.toFixed(2)} or less`, `${high.toFixed(2)} or more`];

/** What the border check found of this network's maps. */
export function borderCheck(card) {
  const check = card?.saliency_checks?.border;
  const told = "The map does not localise disease. ";
  if (!check) return `${told}Its checks are not at hand: do not rely on it.`;
  return check.passes
    ? `${told}Border check: passes. ${check.found}`
    : `${told}The border check fails: parts of the image's edge alone tell the classes apart, so evidence may come from outside the lungs.`;
}
