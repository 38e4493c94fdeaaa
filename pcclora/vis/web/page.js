// The page's behaviour. K3D draws and turns the cloud (one set of points an object); this file colours them, hides what
// the legend says is hidden, and tells what is under the pointer. What it gets from Python: see
// pcclora/vis/page_object.py.
"use strict";

const $ = (selector) => document.querySelector(selector);
const FRAME = 30; // milliseconds: a cloud that takes longer to draw is thinned while it moves
const REST = 150; // milliseconds without a move after which all of it is drawn again
const FIT = 9 / 7; // width by height of the frame that the cameras from Python fit an object into
const KEYS = { g: "ground truth", p: "prediction", e: "errors", c: "scan", h: "height", t: "tokens" }; // as in the window
const UPS = ["+y", "+z", "+x", "-y", "-z", "-x"];

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function bytes(base64) {
  return base64 ? Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)) : null;
}

function unzipped(id) {
  const stream = new Blob([bytes($(id).textContent)]).stream();
  return new Response(stream.pipeThrough(new DecompressionStream("gzip")));
}

function shuffled(count) {
  const order = Uint32Array.from({ length: count }, (_, place) => place);
  for (let place = count - 1; place > 0; place--) {
    const other = Math.floor(Math.random() * (place + 1));
    [order[place], order[other]] = [order[other], order[place]];
  }
  return order;
}

function rgb(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);
}

// The colour at a share, 0 to 1, of the way through some.
function mixed(steps, share) {
  const at = share * (steps.length - 1), low = Math.min(Math.floor(at), steps.length - 2);
  return steps[low].map((value, axis) => value + (at - low) * (steps[low + 1][axis] - value));
}

function bar(name, colour, share) {
  const [words, number] = [name, share].map((textContent) => element("span", { textContent }));
  const made = element("div", { className: "bar" }, words, element("b", {}), number);
  made.style.setProperty("--colour", colour);
  made.style.setProperty("--share", share);
  return made;
}

async function library() {
  let module;
  window.define = (name, needs, make) => { module = make(); };
  document.head.append(element("script", { textContent: await unzipped("#library").text() }));
  return module;
}

function decoded(object) {
  const views = object.views.map((view) => ({ ...view, group: bytes(view.group), colours: bytes(view.colours) }));
  return { ...object, views, percent: bytes(object.percent) };
}

// One picture of the objects and its camera. There are two where the truth is seen beside something else.
class Pane {
  constructor(k3d, place, objects) {
    this.k3d = k3d;
    this.place = place;
    this.world = k3d.getWorld();
    this.clouds = objects.map(({ id }) => this.world.ObjectsById[id]);
    this.orders = this.clouds.map((cloud) => shuffled(cloud.geometry.attributes.position.count));
    this.object = 0;
    this.kept = []; // the points that are drawn, in random order: the first of them are an even part of the cloud
    this.shares = []; // of each object's, that is drawn while it moves
  }

  static async of(load, place, objects) {
    return new Pane(await load(bytes($("#points").textContent), place.querySelector(".canvas")), place, objects);
  }

  get cloud() { return this.clouds[this.object]; }
  get share() { return this.shares[this.object] ?? 1; }

  paint(object, view, off, size, up) {
    this.object = object;
    this.clouds.forEach((cloud, place) => { cloud.visible = place === object; });
    const { color } = this.cloud.geometry.attributes;
    const colour = this.colouring(view, up);
    this.kept = Array.from(this.orders[object]).filter((point) => !(view.group && off.has(view.group[point])));
    for (const point of this.kept) color.array.set(colour(point), 3 * point);
    color.needsUpdate = true;
    this.cloud.geometry.setIndex(this.kept);
    this.cloud.geometry.setDrawRange(0, Infinity);
    this.cloud.material.uniforms.size.value = size;
    this.place.querySelector(".label").textContent = view.name;
    this.k3d.render(true);
  }

  // point -> red, green, blue: of its entry in the legend, of its height, or its own.
  colouring({ group, colours, scale, legend }, up) {
    if (group) {
      const palette = legend.map((key) => rgb(key.colour));
      return (point) => palette[group[point]];
    }
    if (!scale) return (point) => [0, 1, 2].map((axis) => colours[3 * point + axis] / 255);
    const at = this.cloud.geometry.attributes.position.array;
    const axis = "xyz".indexOf(up[1]), way = up[0] === "-" ? -1 : 1, steps = scale.map(rgb);
    let low = Infinity, high = -Infinity;
    for (let place = axis; place < at.length; place += 3) {
      low = Math.min(low, way * at[place]);
      high = Math.max(high, way * at[place]);
    }
    return (point) => mixed(steps, (way * at[3 * point + axis] - low) / (high - low || 1));
  }

  // In a pane that is narrower than the frame that the camera is for, it stands farther away.
  look(camera) {
    const { width, height } = this.place.getBoundingClientRect();
    const back = Math.max(1, FIT * height / width);
    this.k3d.setCamera(camera.map((value, place) => (place < 3 ? back * value : value)));
    this.k3d.render(true);
  }

  // Software rendering takes milliseconds for a thousand points; a graphics card does not.
  async measure() {
    const { object } = this;
    if (this.shares[object] !== undefined) return;
    await this.drawn();
    const start = performance.now();
    await this.drawn();
    if (this.object === object) this.shares[object] = Math.min(1, FRAME / (performance.now() - start));
  }

  async drawn() {
    await this.world.render(true);
    const gl = this.world.renderer.getContext();
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4)); // waits for the picture
  }

  thin() {
    if (this.share === 1) return;
    clearTimeout(this.resting);
    this.cloud.geometry.setDrawRange(0, Math.ceil(this.share * this.kept.length));
    this.resting = setTimeout(() => {
      this.cloud.geometry.setDrawRange(0, Infinity);
      this.k3d.render(true);
    }, REST);
  }

  // The nearest to the viewer of the points under the pointer, or -1.
  pointAt(x, y) {
    const { camera } = this.world;
    const box = this.place.getBoundingClientRect();
    const m = camera.projectionMatrix.clone().multiply(camera.matrixWorldInverse).elements;
    const at = this.cloud.geometry.attributes.position.array;
    const reach = this.cloud.material.uniforms.size.value * camera.projectionMatrix.elements[5] * box.height / 4;
    let best = -1, nearest = Infinity;
    for (const point of this.kept) {
      const [px, py, pz] = [at[3 * point], at[3 * point + 1], at[3 * point + 2]];
      const w = m[3] * px + m[7] * py + m[11] * pz + m[15];
      if (w <= 0 || w >= nearest) continue;
      const right = box.left + ((m[0] * px + m[4] * py + m[8] * pz + m[12]) / w + 1) * box.width / 2 - x;
      const down = box.top + (1 - (m[1] * px + m[5] * py + m[9] * pz + m[13]) / w) * box.height / 2 - y;
      if (Math.hypot(right, down) <= Math.max(3, reach / w)) [best, nearest] = [point, w];
    }
    return best;
  }
}

class Page {
  constructor(load, details) {
    this.load = load;
    this.objects = details.objects.map(decoded);
    this.panes = [];
    this.hidden = new Map(); // legend -> what of it is hidden, so that it stays hidden in the next view and object
    this.object = 0;
    this.view = "prediction";
    this.up = details.up;
    this.both = false; // whether the truth is seen beside the view
    this.second = null; // the promise of the second pane, once it was asked for
    this.leader = null; // the pane whose camera the other is following just now
  }

  get shown() { return this.objects[this.object]; }
  get colouring() { return this.shown.views.find(({ name }) => name === this.view); }
  get truth() { return this.shown.views.find(({ name }) => name === "ground truth"); }
  get comparable() { return Boolean(this.truth) && this.shown.views.length > 1; }
  get drawn() { return this.panes.slice(0, this.both ? 2 : 1); }
  get off() { return this.offOf(this.colouring); }

  offOf(view) {
    const legend = view.legend.map((key) => key.name).join("\n");
    if (!this.hidden.has(legend)) this.hidden.set(legend, new Set());
    return this.hidden.get(legend);
  }

  async add() {
    const pane = await Pane.of(this.load, document.querySelectorAll(".pane")[this.panes.length], this.objects);
    pane.k3d.on(pane.k3d.events.CAMERA_CHANGE, (camera) => this.follow(pane, camera));
    this.panes.push(pane);
    this.shade();
  }

  async choose(object) {
    this.object = (object + this.objects.length) % this.objects.length;
    if (!this.colouring) this.view = this.shown.views[0].name;
    if (this.both && !this.comparable) await this.compare(false);
    $("#object").value = this.object;
    $("#facts").textContent = this.shown.facts;
    this.writeAnswer();
    this.update();
    this.resetView();
    for (const pane of this.drawn) await pane.measure();
  }

  look(view) {
    if (!this.shown.views.some(({ name }) => name === view)) return;
    this.view = view;
    this.update();
  }

  async compare(both) {
    this.both = both && this.comparable;
    document.querySelectorAll(".pane")[1].hidden = !this.both;
    if (this.both && this.view === "ground truth") this.view = this.shown.views.at(-1).name;
    if (this.both) await (this.second ??= this.add());
    dispatchEvent(new Event("resize")); // K3D fits its pictures to the panes
    this.update();
    this.resetView();
  }

  toggle(key) {
    if (!this.off.delete(key)) this.off.add(key);
    this.update();
  }

  turn() {
    this.up = UPS[(UPS.indexOf(this.up) + 1) % UPS.length];
    this.update();
    this.resetView();
  }

  // One camera moves the other; what the other then tells of itself moves nothing.
  follow(pane, camera) {
    pane.thin();
    if (this.leader) return;
    this.leader = pane;
    for (const other of this.drawn) if (other !== pane) other.k3d.setCamera(camera);
    for (const other of this.drawn) if (other !== pane) other.k3d.render();
    this.leader = null;
  }

  shade() {
    const colour = getComputedStyle(document.documentElement).getPropertyValue("--scene").trim();
    for (const { k3d } of this.panes) k3d.setClearColor(parseInt(colour.slice(1), 16));
    for (const { k3d } of this.panes) k3d.render(true);
  }

  update() {
    this.paint();
    this.writeViews();
    this.writeLegend();
  }

  paint() {
    const size = this.shown.size * 3 ** $("#size").valueAsNumber;
    const views = this.both ? [this.truth, this.colouring] : [this.colouring];
    this.drawn.forEach((pane, place) => {
      pane.paint(this.object, views[place], this.offOf(views[place]), size, this.up);
    });
    for (const label of document.querySelectorAll(".label")) label.hidden = !this.both;
    const up = `${this.up.replace("+", "")} is up `;
    $("#up").replaceChildren(up, element("kbd", { textContent: "U" }));
  }

  writeViews() {
    const views = this.shown.views.filter(({ name }) => !(this.both && name === "ground truth"));
    $("#views").hidden = views.length < 2;
    $("#views").replaceChildren(...views.map(({ name }) => {
      const key = Object.keys(KEYS).find((letter) => KEYS[letter] === name);
      const button = element("button", {}, `${name} `, element("kbd", { textContent: key.toUpperCase() }));
      button.onclick = () => this.look(name);
      button.setAttribute("role", "radio");
      button.setAttribute("aria-label", name);
      button.setAttribute("aria-checked", name === this.view);
      return button;
    }));
    $("#both").hidden = !this.comparable;
    $("#both").setAttribute("aria-pressed", this.both);
  }

  writeLegend() {
    const { legend, columns, group } = this.colouring;
    const cells = (texts) => texts.map((textContent) => element("span", { textContent }));
    $("#columns").replaceChildren(...cells(columns));
    $("#legend").replaceChildren(...legend.map((key, place) => {
      const name = element("span", {}, element("i", {}), key.name);
      const entry = element("button", { className: "key", disabled: !group }, name, ...cells(key.cells));
      entry.onclick = () => this.toggle(place);
      entry.style.setProperty("--colour", key.colour);
      entry.setAttribute("aria-pressed", !this.off.has(place));
      entry.title = group ? (this.off.has(place) ? "show" : "hide") : "";
      return entry;
    }));
    $("#all").hidden = !this.off.size;
  }

  writeAnswer() {
    const { answer } = this.shown;
    $("#answer").hidden = !answer;
    if (!answer) return;
    const [guess] = answer.likely;
    const said = answer.wrong ? `${guess.name}, truly ${answer.truth}` : guess.name;
    const verdict = answer.truth === null ? "" : answer.wrong ? "wrong" : "right";
    const bars = answer.likely.map(({ name, percent }) => bar(name, "var(--accent)", `${percent}%`));
    $("#answer").replaceChildren(element("p", { className: verdict, textContent: said }), ...bars);
  }

  resetView() {
    for (const pane of this.drawn) pane.look(this.shown.cameras[this.up]);
  }

  hover(event) {
    const pane = this.drawn.find(({ place }) => place.contains(event.target));
    const point = event.buttons || event.target.tagName !== "CANVAS" ? -1 : pane.pointAt(event.clientX, event.clientY);
    const card = $("#hover");
    card.hidden = point < 0;
    if (point < 0) return;
    card.replaceChildren(...this.describe(pane, point));
    const left = event.clientX + 18, top = event.clientY + 14;
    card.style.left = `${Math.max(8, Math.min(left, innerWidth - card.offsetWidth - 8))}px`;
    card.style.top = `${Math.min(top, innerHeight - card.offsetHeight - 8)}px`;
  }

  describe(pane, point) {
    const { views, percent, parts, centre, radius, numbers } = this.shown;
    const label = (name) => views.find((view) => view.name === name)?.group[point];
    const [guess, truth] = [label("prediction"), label("ground truth")];
    const lines = [];
    if (truth !== undefined) lines.push(element("p", { textContent: `ground truth: ${parts[truth].name}` }));
    if (guess !== undefined) {
      const wrong = truth !== undefined && truth !== guess;
      lines.push(element("p", { className: wrong ? "wrong" : "", textContent: `prediction: ${parts[guess].name}` }));
    }
    const share = (place) => `${percent[point * parts.length + place]}%`;
    if (percent) lines.push(...parts.map((part, place) => bar(part.name, part.colour, share(place))));
    const at = pane.cloud.geometry.attributes.position.array.slice(3 * point, 3 * point + 3);
    const digits = Math.max(0, 3 - Math.floor(Math.log10(radius)));
    const place = Array.from(at, (value, axis) => (centre[axis] + radius * value).toFixed(digits)).join(", ");
    const number = numbers ? numbers[point] : point;
    lines.push(element("p", { className: "place", textContent: `point ${number} · ${place}` }));
    return lines;
  }

  // The objects to choose from; those of one caption stand together.
  writeChooser() {
    let group = null;
    this.objects.forEach(({ name, caption }, value) => {
      if (caption && group?.label !== caption) $("#object").append(group = element("optgroup", { label: caption }));
      (caption ? group : $("#object")).append(element("option", { value, textContent: `${value + 1} · ${name}` }));
    });
    $("#objects").hidden = this.objects.length < 2;
  }

  listen() {
    $("#object").onchange = (event) => this.choose(Number(event.target.value));
    $("#previous").onclick = () => this.choose(this.object - 1);
    $("#next").onclick = () => this.choose(this.object + 1);
    $("#both").onclick = () => this.compare(!this.both);
    $("#all").onclick = () => { this.off.clear(); this.update(); };
    $("#size").oninput = () => this.paint();
    $("#up").onclick = () => this.turn();
    $("#reset").onclick = () => this.resetView();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.shade());
    let waiting = null;
    const hover = (event) => {
      if (!waiting) requestAnimationFrame(() => { this.hover(waiting); waiting = null; });
      waiting = event;
    };
    addEventListener("pointermove", hover);
    addEventListener("pointerup", hover); // a tap
    addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input")) return;
      const key = event.key.toLowerCase();
      if (key === "n" || key === "b") this.choose(this.object + (key === "n" ? 1 : -1));
      else if (key === "r") this.resetView();
      else if (key === "u") this.turn();
      else if (key === "s") this.compare(!this.both);
      else if (key in KEYS) this.look(KEYS[key]);
    });
  }
}

async function start() {
  const { CreateK3DAndLoadBinarySnapshot: load } = await library();
  const page = new Page(load, await unzipped("#details").json());
  await page.add();
  page.writeChooser();
  page.listen();
  await page.choose(0);
  $("#note").hidden = true;
  return page;
}

window.page = start();
window.page.catch((error) => {
  const needed = "WebGL and a browser of 2023 or later are needed";
  $("#note").textContent = `This browser cannot show the cloud; ${needed}. (${error.message})`;
});
