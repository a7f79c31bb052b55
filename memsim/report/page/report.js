"use strict";

// Tables: a click on a heading sorts by it; numbers by value, all else as text.

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row, place) => ({ row, place, key: sortKey(row.cells[column]) }));
      rows.sort((a, b) => (up ? 1 : -1) * ordered(a.key, b.key) || a.place - b.place);
      body.append(...rows.map((one) => one.row));
    });
  });
}

function sortKey(cell) {
  const text = cell ? cell.textContent.trim() : "";
  const units = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };
  const found = /^([+-]?)([\d,]*\.?\d+(?:e[+-]?\d+)?) ?(B|KiB|MiB|GiB|TiB)?/.exec(text);
  if (!found || !(cell.classList.contains("number"))) return text;
  const size = Number(found[2].replaceAll(",", "")) * (units[found[3]] || 1);
  return found[1] && found[1] !== "+" ? -size : size;
}

function ordered(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a === typeof b) return a.localeCompare(b, "en", { numeric: true });
  return typeof a === "number" ? -1 : 1;
}

document.querySelectorAll("table").forEach((table) => { if (table.tHead) sortable(table); });

// Memory over time.

const TYPES = { U: "Unmovable", M: "Movable", R: "Reclaimable", H: "HighAtomic", C: "CMA", I: "Isolated" };
const FULL = 15;
const COLUMNS = 64;
const LABEL = 34;

class Layer {
  constructor(data, cells) {
    Object.assign(this, data);
    this.frames = decoded(data.data, cells, data.times.length);
    this.zoneOf = [];
    for (const [name, count] of data.zones) for (let n = 0; n < count; n++) this.zoneOf.push(name);
    // Type, how full, how much cannot be moved: -1 for no memory.
    this.look = data.palette.map((text) => text[0] in TYPES
      ? { type: text[0], used: parseInt(text[1], 16), fixed: parseInt(text[2], 16) } : null);
  }

  at(instant, place) { return this.look[this.frames[instant][place]]; }
}

// The inverse of memsim/report/encoding.py.
function decoded(text, cells, instants) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  let next = 0;
  const number = () => {
    let value = 0, shift = 0, byte;
    do { byte = bytes[next++]; value += (byte & 127) * 2 ** shift; shift += 7; } while (byte & 128);
    return value;
  };
  const frames = [];
  let before = new Uint16Array(cells);
  for (let n = 0; n < instants; n++) {
    const frame = before.slice();
    let place = 0;
    for (let runs = number(); runs > 0; runs--) {
      place += number();
      const end = place + number(), value = number();
      frame.fill(value, place, end);
      place = end;
    }
    frames.push(frame);
    before = frame;
  }
  return frames;
}

class Maps {
  constructor(data) {
    this.data = data;
    this.cells = data.segments.reduce((sum, segment) => sum + segment[2], 0);
    this.layers = data.layers.map((layer) => new Layer(layer, this.cells));
    this.blockCells = Math.max(1, Math.round(data.blockPages / data.cellPages));
    this.columns = this.blockCells >= COLUMNS ? COLUMNS : this.blockCells * Math.floor(COLUMNS / this.blockCells);
    this.shown = new Set(this.layers.slice(0, 3).map((_, n) => n));
    this.instant = 0;
    this.selected = -1;
    this.difference = false;
    this.one = 0;
    this.other = Math.min(1, this.layers.length - 1);
    this.layOut();
  }

  // Where each cell stands: rows begin at multiples of memory blocks, nodes and holes begin a new part.
  layOut() {
    this.rowOf = new Uint32Array(this.cells);
    this.columnOf = new Uint16Array(this.cells);
    this.cellOf = new Float64Array(this.cells);
    this.nodeOf = new Uint16Array(this.cells);
    this.heads = [];
    let place = 0, row = 0, node = -1;
    for (const [ofNode, first, count] of this.data.segments) {
      if (ofNode !== node) { this.heads.push([row, `node ${ofNode}`]); row += 2; node = ofNode; }
      const shift = first % this.columns;
      for (let n = 0; n < count; n++, place++) {
        this.cellOf[place] = first + n;
        this.nodeOf[place] = ofNode;
        this.rowOf[place] = row + Math.floor((shift + n) / this.columns);
        this.columnOf[place] = (shift + n) % this.columns;
      }
      row = this.rowOf[place - 1] + 1;
    }
    this.rows = row;
    this.placeAt = new Map();
    for (let n = 0; n < this.cells; n++) this.placeAt.set(this.rowOf[n] * COLUMNS + this.columnOf[n], n);
    this.size = this.columns <= 16 ? 14 : this.columns <= 32 ? 10 : 6;
  }

  get layer() { return this.layers[[...this.shown][0] ?? 0]; }

  get times() { return this.layers[0].times; }
}

function mapPage(maps) {
  const by = (id) => document.getElementById(id);
  const slider = by("slider"), panels = by("panels");
  by("maps").hidden = false;
  by("cell-size").textContent = sizeText(maps.data.cellPages * maps.data.pageSize);
  slider.max = String(maps.times.length - 1);

  maps.layers.forEach((layer, n) => {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.checked = maps.shown.has(n);
    box.addEventListener("change", () => {
      if (box.checked) maps.shown.add(n); else maps.shown.delete(n);
      maps.shown = new Set([...maps.shown].sort((a, b) => a - b));
      rebuild();
    });
    label.append(box, ` ${layer.label}`);
    by("shown").append(label);
    for (const [select, chosen] of [[by("one"), maps.one], [by("other"), maps.other]]) {
      const option = new Option(layer.label, String(n), n === chosen, n === chosen);
      select.append(option);
    }
  });

  function rebuild() {
    maps.difference = by("compare").checked;
    maps.one = Number(by("one").value);
    maps.other = Number(by("other").value);
    by("difference-legend").hidden = !maps.difference;
    document.querySelectorAll("#difference-legend .one").forEach((e) => { e.textContent = maps.layers[maps.one].label; });
    document.querySelectorAll("#difference-legend .other").forEach((e) => { e.textContent = maps.layers[maps.other].label; });
    const wanted = [...maps.shown].map((n) => ({ layer: maps.layers[n] }));
    if (maps.difference) wanted.push({ one: maps.layers[maps.one], other: maps.layers[maps.other] });
    panels.replaceChildren(...wanted.map((what) => panel(maps, what, select)));
    draw();
  }

  function draw() {
    by("now").textContent = timeText(maps.times[maps.instant]);
    slider.setAttribute("aria-valuetext", timeText(maps.times[maps.instant]));
    for (const canvas of panels.querySelectorAll("canvas")) canvas.paint();
    for (const line of panels.querySelectorAll("p")) line.count();
    const before = maps.instant ? maps.times[maps.instant - 1] : -1;
    const now = maps.layer.marks.filter(([time]) => time > before && time <= maps.times[maps.instant]);
    by("happened").textContent = now.length
      ? `Just happened: ${[...new Set(now.map(([time, text]) => `${text} at ${timeText(time)}`))].join(", ")}` : "";
    if (maps.selected >= 0) describe(maps, by("block"));
  }

  function select(place) {
    maps.selected = place;
    draw();
  }

  marks(maps, by("marks"), (instant) => { slider.value = String(instant); maps.instant = instant; draw(); });
  slider.addEventListener("input", () => { maps.instant = Number(slider.value); draw(); });
  for (const id of ["compare", "one", "other"]) by(id).addEventListener("change", () => {
    if (id !== "compare") by("compare").checked = true;
    rebuild();
  });
  let timer = 0;
  by("play").addEventListener("click", () => {
    const playing = timer !== 0;
    if (playing) { clearInterval(timer); timer = 0; } else {
      if (maps.instant === maps.times.length - 1) maps.instant = -1;
      timer = setInterval(() => {
        maps.instant += 1;
        slider.value = String(maps.instant);
        draw();
        if (maps.instant >= maps.times.length - 1) by("play").click();
      }, 150);
    }
    by("play").textContent = playing ? "Play" : "Stop";
    by("play").setAttribute("aria-pressed", String(!playing));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  maps.instant = maps.times.length - 1;
  slider.value = String(maps.instant);
  rebuild();
}

// What happened: a name for each event above the slider; those that would cover another have a dot.
function marks(maps, place, go) {
  const last = maps.times[maps.times.length - 1] || 1;
  let end = -1;
  for (const [time, text] of maps.layer.marks) {
    const button = document.createElement("button");
    button.type = "button";
    const at = 100 * time / last, half = 0.27 * (text.length + 2);
    const covered = at - half < end;
    button.textContent = covered ? "•" : `${text} ▾`;
    button.title = `${timeText(time)}: ${text}`;
    button.setAttribute("aria-label", `${timeText(time)}: ${text}`);
    button.style.left = `${at}%`;
    if (!covered && at > 92) button.style.transform = "translateX(-100%)";
    end = Math.max(end, at + (covered ? 0.5 : half));
    const instant = maps.times.findIndex((one) => one >= time);
    button.addEventListener("click", () => go(instant < 0 ? maps.times.length - 1 : instant));
    place.append(button);
  }
}

function panel(maps, what, select) {
  const box = document.createElement("div"), head = document.createElement("h3");
  const line = document.createElement("p"), canvas = document.createElement("canvas");
  box.className = "panel";
  box.style.maxWidth = `${LABEL + maps.columns * maps.size}px`;
  const name = what.layer ? what.layer.label : `${what.other.label} beside ${what.one.label}`;
  head.textContent = name;
  const ratio = window.devicePixelRatio || 1;
  canvas.px = Math.round(maps.size * ratio);
  canvas.width = Math.round(LABEL * ratio) + maps.columns * canvas.px;
  canvas.height = maps.rows * canvas.px + 4;
  canvas.style.width = `${canvas.width / ratio}px`;
  canvas.style.height = `${canvas.height / ratio}px`;
  const step = canvas.px / ratio;
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.paint = () => paint(maps, canvas, what, ratio);
  line.count = () => {
    line.textContent = what.layer ? told(maps, what.layer) : differs(maps, what);
    canvas.setAttribute("aria-label", `Map of memory, ${name}: ${line.textContent} Arrow keys move from square to square.`);
  };
  canvas.addEventListener("click", (event) => {
    const column = Math.floor((event.offsetX - LABEL) / step), row = Math.floor(event.offsetY / step);
    const place = maps.placeAt.get(row * COLUMNS + column);
    if (column >= 0 && column < maps.columns && place !== undefined) select(place);
  });
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    if (maps.selected < 0) { select(0); return; }
    if (move[1]) { select(Math.min(maps.cells - 1, Math.max(0, maps.selected + move[1]))); return; }
    const column = maps.columnOf[maps.selected];
    for (let row = maps.rowOf[maps.selected] + move[0]; row >= 0 && row < maps.rows; row += move[0]) {
      const place = maps.placeAt.get(row * COLUMNS + column);
      if (place !== undefined) { select(place); return; }
    }
  });
  box.append(head, line, canvas);
  return box;
}

function told(maps, layer) {
  let memory = 0, used = 0, fixed = 0;
  for (let n = 0; n < maps.cells; n++) {
    const cell = layer.at(maps.instant, n);
    if (cell) { memory += 1; used += cell.used / FULL; fixed += cell.fixed > 0; }
  }
  const bytes = maps.data.cellPages * maps.data.pageSize;
  return `${sizeText(memory * bytes)}, ${Math.round(100 * used / (memory || 1))} % in use; `
    + `${Math.round(100 * fixed / (memory || 1))} % of the squares hold pages that cannot be moved.`;
}

function differs(maps, what) {
  let one = 0, other = 0;
  for (let n = 0; n < maps.cells; n++) {
    const a = what.one.at(maps.instant, n), b = what.other.at(maps.instant, n);
    one += Boolean(a && a.fixed && !(b && b.fixed));
    other += Boolean(b && b.fixed && !(a && a.fixed));
  }
  return `Squares that cannot be moved in one only: ${one.toLocaleString("en")} in ${what.one.label}, `
    + `${other.toLocaleString("en")} in ${what.other.label}.`;
}

// Squares are stamped into the picture pixel by pixel: thousands of them in a few milliseconds.
function paint(maps, canvas, what, ratio) {
  const context = canvas.getContext("2d"), px = canvas.px, left = Math.round(LABEL * ratio);
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const stamps = new Map();
  for (let n = 0; n < maps.cells; n++) {
    const look = what.layer ? what.layer.frames[maps.instant][n]
      : contrast(what.one.at(maps.instant, n), what.other.at(maps.instant, n)).join();
    if (!stamps.has(look)) stamps.set(look, what.layer ? stamp(what.layer.look[look], px, color) : shade(look, px, color));
    const rows = stamps.get(look);
    let at = maps.rowOf[n] * px * canvas.width + left + maps.columnOf[n] * px;
    for (const row of rows) { pixels.set(row, at); at += canvas.width; }
  }
  context.putImageData(image, 0, 0);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  label(maps, context, px / ratio, color);
}

// The rows of pixels of one square; the last pixel of each row and the last row stay empty.
function stamp(cell, px, color) {
  const inner = px - 1, rows = [];
  const base = cell ? mixed(color("--free"), color(`--t${cell.type}`), cell.used ? 0.3 + 0.7 * cell.used / FULL : 0) : 0;
  const dot = Math.max(2, Math.round(inner * 0.4)), begin = (inner - dot) >> 1;
  const line = mixed(color("--line"), color("--line"), 0), mark = mixed(color("--dot"), color("--dot"), 0);
  for (let y = 0; y < inner; y++) {
    const row = new Uint32Array(inner).fill(base);
    if (!cell && (y === 0 || y === inner - 1)) row.fill(line);
    if (!cell) { row[0] = line; row[inner - 1] = line; }
    if (cell && cell.fixed && y >= begin && y < begin + dot) row.fill(mark, begin, begin + dot);
    rows.push(row);
  }
  return rows;
}

function shade(look, px, color) {
  const [fill, part] = look.split(",");
  const row = new Uint32Array(px - 1).fill(mixed(color("--free"), fill, Number(part)));
  return new Array(px - 1).fill(row);
}

// Two colours (#rrggbb) mixed, as a pixel of image data.
function mixed(one, other, part) {
  const [a, b] = [one, other].map((text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)));
  const [red, green, blue] = a.map((value, n) => Math.round(value + (b[n] - value) * part));
  return (255 << 24 | blue << 16 | green << 8 | red) >>> 0;
}

// Numbers of memory blocks beside the rows, nodes above theirs, and a frame around the chosen square.
function label(maps, context, step, color) {
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.fillStyle = color("--soft");
  let row = -1, last = -2;
  for (let n = 0; n < maps.cells; n++) {
    if (maps.rowOf[n] === row) continue;
    row = maps.rowOf[n];
    const begins = Math.floor(maps.cellOf[n] % maps.blockCells / maps.columns) === 0;
    if (begins && (row - last) * step >= 12) {
      const block = Math.floor(maps.cellOf[n] * maps.data.cellPages / maps.data.blockPages);
      context.fillText(String(block), LABEL - 6, (row + 0.5) * step);
      last = row;
    }
  }
  context.textAlign = "left";
  context.fillStyle = color("--ink");
  for (const [at, text] of maps.heads) context.fillText(`${text}; rows: memory blocks by number`, LABEL, (at + 1) * step);
  if (maps.selected < 0) return;
  context.strokeStyle = color("--accent");
  context.lineWidth = 2;
  const x = LABEL + maps.columnOf[maps.selected] * step, y = maps.rowOf[maps.selected] * step;
  context.strokeRect(x - 1.5, y - 1.5, step + 2, step + 2);
}

// What the difference view shows of a square: first whether it can be moved, then how full it is.
function contrast(one, other) {
  const a = one || { used: 0, fixed: 0 }, b = other || { used: 0, fixed: 0 };
  if (a.fixed && !b.fixed) return ["#e07b1a", 1];
  if (b.fixed && !a.fixed) return ["#b0479c", 1];
  const more = b.used - a.used;
  if (Math.abs(more) < 2) return ["#888888", 0];
  return [more < 0 ? "#4aa8b5" : "#7b6b5d", 0.25 + 0.6 * Math.abs(more) / FULL];
}

// What is known of the square that was chosen, in each of the maps that are shown.
function describe(maps, place) {
  const cell = maps.cellOf[maps.selected], data = maps.data;
  const pfn = cell * data.cellPages, block = Math.floor(pfn / data.blockPages);
  const parts = [];
  const head = document.createElement("h3");
  head.textContent = `Memory block ${block} of node ${maps.nodeOf[maps.selected]}: pfn ${pfn.toLocaleString("en")} to `
    + `${(pfn + data.cellPages - 1).toLocaleString("en")}, from ${sizeText(pfn * data.pageSize)} on`;
  parts.push(head);
  for (const n of maps.shown) {
    const layer = maps.layers[n], title = document.createElement("p"), strong = document.createElement("strong");
    strong.textContent = layer.label;
    const zone = layer.zoneOf[maps.selected];
    title.append(strong, ` (${zone || "no zone"}, seed ${layer.seed}): now ${cellText(layer.at(maps.instant, maps.selected))}`);
    parts.push(title, history(maps, layer));
    const texts = layer.blocks[String(block)];
    if (texts) {
      const list = document.createElement("ul");
      for (const text of texts) {
        const item = document.createElement("li");
        item.textContent = text;
        list.append(item);
      }
      parts.push(list);
    }
  }
  const more = document.createElement("p"), code = document.createElement("code");
  code.textContent = `memsim explain ${data.run} --block ${block}`;
  more.append("Whose pages these are, and what would have helped: ", code);
  if (maps.layers.some((layer) => String(block) in layer.blocks)) parts.push(more);
  place.replaceChildren(...parts);
}

function history(maps, layer) {
  const line = document.createElement("p"), changes = [];
  let before = null;
  layer.times.forEach((time, instant) => {
    const text = cellText(layer.at(instant, maps.selected));
    if (text !== before) changes.push(`${timeText(time)} ${text}`);
    before = text;
  });
  const shown = changes.length > 8 ? [...changes.slice(0, 4), `… ${changes.length - 7} more …`, ...changes.slice(-3)] : changes;
  line.textContent = `History: ${shown.join(" → ")}`;
  line.className = "note";
  return line;
}

function cellText(cell) {
  if (!cell) return "no memory";
  const used = cell.used === FULL ? "full" : cell.used ? `${Math.round(100 * cell.used / FULL)} % in use` : "free";
  const fixed = cell.fixed === FULL ? ", nothing of it movable" : cell.fixed ? ", some not movable" : "";
  return `${TYPES[cell.type]}, ${used}${fixed}`;
}

function sizeText(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let n = 0;
  while (bytes >= 1024 && n < 4) { bytes /= 1024; n += 1; }
  return `${Number(bytes.toFixed(bytes < 10 ? 2 : 1)).toLocaleString("en")} ${units[n]}`;
}

function timeText(seconds) {
  return seconds >= 1 ? `${Number(seconds.toFixed(2))} s` : `${Number((1000 * seconds).toFixed(1))} ms`;
}

const source = document.getElementById("map-data");
if (source) mapPage(new Maps(JSON.parse(source.textContent)));
