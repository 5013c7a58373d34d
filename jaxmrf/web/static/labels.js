// Pictures in flat colors, as whole numbers: one label for each place. Drawn with hard edges, so
// that what is saved has no colors but those of the palette.

export const PALETTE = ["#ffffff", "#e03030", "#1f6fe0", "#1fa040", "#ffd000", "#8040c0", "#ff8c00", "#00c8d8", "#202020"];
const LONGEST = 1024; // pixels of a side: layers see no more
const MOST = 16; // colors that a guide may have
const APART = 0.2 * 255; // as files/guides.py: nearer colors are one
const SMALLEST = 0.001; // share of a picture below which a color is blur
const STEPS = 40; // that can be taken back

const channels = (color) => [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
const code = (rgb) => `#${rgb.map((value) => value.toString(16).padStart(2, "0")).join("")}`;

export class Layer {
  constructor(width, height) {
    const scale = Math.min(1, LONGEST / Math.max(width, height));
    this.width = Math.max(1, Math.round(width * scale));
    this.height = Math.max(1, Math.round(height * scale));
    this.labels = new Uint8Array(this.width * this.height);
    this.done = [];
    this.undone = [];
  }

  get isEmpty() {
    return this.labels.every((label) => label === 0);
  }

  // To be called before a change that can be taken back.
  keep() {
    this.done.push(this.labels.slice());
    if (this.done.length > STEPS) this.done.shift();
    this.undone = [];
  }

  undo() {
    this.#change(this.done, this.undone);
  }

  redo() {
    this.#change(this.undone, this.done);
  }

  #change(from, to) {
    if (!from.length) return;
    to.push(this.labels);
    this.labels = from.pop();
  }

  clear() {
    this.keep();
    this.labels = new Uint8Array(this.labels.length);
  }

  // Paints a disc around a place.
  stamp(x, y, radius, label) {
    for (let row = Math.max(0, Math.ceil(y - radius)); row <= Math.min(this.height - 1, y + radius); row += 1) {
      const half = Math.sqrt(Math.max(0, radius ** 2 - (row - y) ** 2));
      const from = Math.max(0, Math.round(x - half));
      const to = Math.min(this.width, Math.round(x + half) + 1);
      if (from < to) this.labels.fill(label, row * this.width + from, row * this.width + to);
    }
  }

  // Paints from one place to another.
  stroke(from, to, radius, label) {
    const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(1, radius / 3)));
    for (let step = 0; step <= steps; step += 1) {
      this.stamp(from.x + ((to.x - from.x) * step) / steps, from.y + ((to.y - from.y) * step) / steps, radius, label);
    }
  }

  // Paints all that hangs together with a place and has its label.
  fill(x, y, label) {
    const { width, height, labels } = this;
    const start = Math.floor(y) * width + Math.floor(x);
    const old = labels[start];
    if (old === label || old === undefined) return;
    const waiting = [start];
    while (waiting.length) {
      const place = waiting.pop();
      if (labels[place] !== old) continue;
      const row = place - (place % width);
      let [left, right] = [place, place];
      while (left > row && labels[left - 1] === old) left -= 1;
      while (right < row + width - 1 && labels[right + 1] === old) right += 1;
      labels.fill(label, left, right + 1);
      for (const next of [left - width, left + width]) {
        if (next < 0 || next >= width * height) continue;
        for (let other = next; other <= next + right - left; other += 1) {
          if (labels[other] === old && (other === next || labels[other - 1] !== old)) waiting.push(other);
        }
      }
    }
  }

  // Draws it with a color [red, green, blue, opacity] for each label.
  draw(canvas, colors) {
    Object.assign(canvas, { width: this.width, height: this.height });
    const context = canvas.getContext("2d", { willReadFrequently: true }); // it is made pixel by pixel
    const pixels = context.createImageData(this.width, this.height);
    const words = new Uint32Array(pixels.data.buffer);
    const table = colors.map((color) => new Uint32Array(new Uint8ClampedArray(color).buffer)[0]);
    this.labels.forEach((label, place) => (words[place] = table[label]));
    context.putImageData(pixels, 0, 0);
  }

  // Returns it as a file in the colors of the palette.
  async file(palette, name) {
    const canvas = document.createElement("canvas");
    this.draw(canvas, palette.map((color) => [...channels(color), 255]));
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    return new File([blob], name, { type: "image/png" });
  }

  // Takes in a label picture; colors that the palette lacks are added to it if it `grows`.
  read(image, palette, grows) {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: this.width, height: this.height });
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, this.width, this.height);
    context.drawImage(image, 0, 0, this.width, this.height);
    const words = new Uint32Array(context.getImageData(0, 0, this.width, this.height).data.buffer);
    const counts = new Map();
    for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
    const split = (word) => [word & 255, (word >> 8) & 255, (word >> 16) & 255];
    const distance = (one, other) => Math.max(...one.map((value, channel) => Math.abs(value - other[channel])));
    for (const [word, count] of [...counts].sort((one, other) => other[1] - one[1])) {
      if (!grows || count < SMALLEST * words.length || palette.length >= MOST) break;
      if (palette.every((color) => distance(channels(color), split(word)) > APART)) palette.push(code(split(word)));
    }
    const known = palette.map(channels);
    const nearest = new Map();
    for (const word of counts.keys()) {
      const distances = known.map((color) => color.reduce((sum, value, channel) => sum + (value - split(word)[channel]) ** 2, 0));
      nearest.set(word, distances.indexOf(Math.min(...distances)));
    }
    this.keep();
    words.forEach((word, place) => (this.labels[place] = nearest.get(word)));
  }
}

// Colors in which labels are shown over the picture: of a guide tinted, without the background.
export const tinted = (palette) => palette.map((color, label) => [...channels(color), label ? 150 : 0]);

// Of a mask what is not painted is dimmed.
export const DIMMED = [
  [20, 18, 15, 175],
  [0, 0, 0, 0],
];
export const MASK = ["#000000", "#ffffff"];
