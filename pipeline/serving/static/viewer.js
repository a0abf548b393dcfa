// One radiograph on a canvas: zoom, pan, window and level, and the map over it. Image and map are drawn in one go.

import * as map from "./map.js";

const MOST = 16; // times the size at which the whole image fits
const START = { zoom: 1, x: 0, y: 0, width: 256, level: 128 };

export class Viewer {
  /** @param changed called when zoom, window or level change */
  constructor(stage, canvas, changed) {
    Object.assign(this, { stage, canvas, changed, view: { ...START }, pointers: new Map(), map: null, opacity: 0.6 });
    new ResizeObserver(() => this.draw()).observe(stage);
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("keydown", (event) => this.#key(event));
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  /** Show an image, whole and untouched; null shows nothing. */
  show(bitmap, name) {
    this.map = null;
    this.grey = bitmap && pixels(bitmap);
    this.canvas.setAttribute("aria-label", bitmap ? `Radiograph ${name}` : "No image");
    if (bitmap) this.stage.style.aspectRatio = `${bitmap.width} / ${bitmap.height}`;
    this.reset();
  }

  reset() {
    this.set(START);
  }

  /** Change some of zoom, x, y (of the image's centre, in shares of the stage), width, level. */
  set(some) {
    const view = { ...this.view, ...some };
    view.zoom = Math.max(1, Math.min(MOST, view.zoom));
    const room = (view.zoom - 1) / 2;
    view.x = Math.max(-room, Math.min(room, view.x));
    view.y = Math.max(-room, Math.min(room, view.y));
    view.width = Math.max(2, Math.min(256, view.width));
    view.level = Math.max(0, Math.min(256, view.level));
    const tone = view.width !== this.view.width || view.level !== this.view.level;
    this.view = view;
    if (tone || !this.toned || this.toned.of !== this.grey) this.toned = this.grey && windowed(this.grey, view);
    this.stage.classList.toggle("zoomed", view.zoom > 1);
    this.draw();
    this.changed(view);
  }

  /** Zoom by a factor about a point of the stage, in shares of it from its centre. */
  zoom(factor, x = 0, y = 0) {
    const zoom = Math.max(1, Math.min(MOST, this.view.zoom * factor));
    const by = zoom / this.view.zoom;
    this.set({ zoom, x: x + (this.view.x - x) * by, y: y + (this.view.y - y) * by });
  }

  /** Draw what is to be seen now. */
  draw() {
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight].map((side) => Math.round(side * devicePixelRatio));
    Object.assign(this.canvas, { width, height }); // which clears it
    if (!this.toned) return;
    const { zoom, x, y } = this.view;
    const fit = Math.min(width / this.grey.width, height / this.grey.height) * zoom;
    const size = { width: this.grey.width * fit, height: this.grey.height * fit };
    this.#paint(this.canvas, this.map, { ...size, x: (width - size.width) / 2 + x * width, y: (height - size.height) / 2 + y * height });
  }

  /** Draw the whole image on another canvas, at the window and level of now. */
  copy(canvas, over) {
    if (!this.toned) return;
    const fit = Math.min(1, 1000 / Math.max(this.grey.width, this.grey.height));
    const size = { width: Math.round(this.grey.width * fit), height: Math.round(this.grey.height * fit) };
    Object.assign(canvas, size);
    this.#paint(canvas, over, { ...size, x: 0, y: 0 });
  }

  #paint(canvas, over, place) {
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(this.toned.canvas, place.x, place.y, place.width, place.height);
    if (over) map.draw(context, over, this.opacity, place);
  }

  #point(event) {
    const box = this.stage.getBoundingClientRect();
    return [(event.clientX - box.x) / box.width - 0.5, (event.clientY - box.y) / box.height - 0.5];
  }

  #wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 400), ...this.#point(event));
  }

  #key(event) {
    const steps = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
    if (event.key === "+" || event.key === "=") this.zoom(1.25);
    else if (event.key === "-") this.zoom(0.8);
    else if (event.key === "0") this.reset();
    else if (steps[event.key] && this.view.zoom > 1) this.set({ x: this.view.x + steps[event.key][0], y: this.view.y + steps[event.key][1] });
    else return;
    event.preventDefault();
  }

  #down(event) {
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.#point(event));
  }

  // One pointer pans, or with the right button or Shift changes window and level; two fingers zoom.
  #move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.#point(event);
    const [right, down] = [now[0] - before[0], now[1] - before[1]];
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) + 1e-6;
      this.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else if (event.shiftKey || event.buttons & 2) {
      this.set({ width: this.view.width + 256 * right, level: this.view.level + 256 * down });
    } else {
      this.set({ x: this.view.x + right, y: this.view.y + down });
    }
    this.pointers.set(event.pointerId, now);
  }
}

function pixels(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

/** Grey levels from level - width / 2 (black) to level + width / 2 (white). */
function windowed(grey, { width, level }) {
  const table = Uint8ClampedArray.from({ length: 256 }, (_, value) => (256 * (value - level + width / 2)) / width);
  const data = new Uint8ClampedArray(grey.data.length);
  for (let place = 0; place < data.length; place += 4) {
    data[place] = data[place + 1] = data[place + 2] = table[grey.data[place]];
    data[place + 3] = 255;
  }
  const canvas = new OffscreenCanvas(grey.width, grey.height);
  canvas.getContext("2d").putImageData(new ImageData(data, grey.width, grey.height), 0, 0);
  return { canvas, of: grey };
}
