// The page's behaviour. K3D draws and turns the cloud (one set of points an object); this file colours them, hides what
// the legend says is hidden, and tells what is under the pointer. What it gets from Python: see
// pcclora/vis/page_object.py.
"use strict";

const $ = (selector) => document.querySelector(selector);
const FRAME = 30; // milliseconds: a cloud that takes longer to draw is thinned while it moves
const REST = 150; // milliseconds without a move after which all of it is drawn again
const KEYS = { g: "ground truth", p: "prediction", e: "errors", c: "scan", t: "tokens" }; // as in the window

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

class Page {
  constructor(k3d, details) {
    this.k3d = k3d;
    this.world = k3d.getWorld();
    this.objects = details.objects.map(decoded);
    this.clouds = this.objects.map((object) => this.world.ObjectsById[object.id]);
    this.orders = this.clouds.map((cloud) => shuffled(cloud.geometry.attributes.position.count));
    this.hidden = new Map(); // legend -> what of it is hidden, so that it stays hidden in the next view and object
    this.shares = []; // of each cloud, that is drawn while it moves
    this.object = 0;
    this.view = "prediction";
  }

  get shown() { return this.objects[this.object]; }
  get colouring() { return this.shown.views.find((view) => view.name === this.view); }
  get cloud() { return this.clouds[this.object]; }
  get off() {
    const legend = this.colouring.legend.map((key) => key.name).join("\n");
    if (!this.hidden.has(legend)) this.hidden.set(legend, new Set());
    return this.hidden.get(legend);
  }

  async choose(object) {
    this.object = (object + this.objects.length) % this.objects.length;
    if (!this.colouring) this.view = this.shown.views[0].name;
    $("#object").value = this.object;
    $("#facts").textContent = this.shown.facts;
    this.clouds.forEach((cloud, place) => { cloud.visible = place === this.object; });
    this.resetView();
    this.update();
    if (this.shares[this.object] === undefined) await this.measure(this.object);
  }

  look(view) {
    if (!this.shown.views.some(({ name }) => name === view)) return;
    this.view = view;
    this.update();
  }

  toggle(key) {
    if (!this.off.delete(key)) this.off.add(key);
    this.update();
  }

  update() {
    this.paint();
    this.writeViews();
    this.writeLegend();
  }

  paint() {
    const { group, colours, legend } = this.colouring;
    const { color } = this.cloud.geometry.attributes;
    const kept = []; // in random order, so that the first of them are an even part of the cloud
    const palette = legend.map((key) => [1, 3, 5].map((at) => parseInt(key.colour.slice(at, at + 2), 16) / 255));
    for (const point of this.orders[this.object]) {
      if (group && this.off.has(group[point])) continue;
      kept.push(point);
      for (let axis = 0; axis < 3; axis++) {
        color.array[3 * point + axis] = group ? palette[group[point]][axis] : colours[3 * point + axis] / 255;
      }
    }
    color.needsUpdate = true;
    this.cloud.geometry.setIndex(kept);
    this.cloud.geometry.setDrawRange(0, Infinity);
    this.kept = kept;
    this.cloud.material.uniforms.size.value = this.shown.size * 3 ** $("#size").valueAsNumber;
    this.k3d.render(true);
  }

  writeViews() {
    $("#views").replaceChildren(...this.shown.views.map(({ name }) => {
      const key = Object.keys(KEYS).find((letter) => KEYS[letter] === name);
      const button = element("button", { textContent: name, title: `key ${key.toUpperCase()}` });
      button.onclick = () => this.look(name);
      button.setAttribute("role", "radio");
      button.setAttribute("aria-checked", name === this.view);
      return button;
    }));
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

  resetView() {
    this.k3d.setCamera(this.shown.camera);
    this.k3d.render(true);
  }

  // Software rendering takes milliseconds for a thousand points; a graphics card does not.
  async measure(object) {
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
    const share = this.shares[this.object] ?? 1;
    if (share === 1) return;
    clearTimeout(this.resting);
    this.cloud.geometry.setDrawRange(0, Math.ceil(share * this.kept.length));
    this.resting = setTimeout(() => {
      this.cloud.geometry.setDrawRange(0, Infinity);
      this.k3d.render(true);
    }, REST);
  }

  // The nearest to the viewer of the points under the pointer, or -1.
  pointAt(x, y) {
    const { camera } = this.world;
    const box = $("#canvas").getBoundingClientRect();
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

  hover(event) {
    const point = event.buttons || event.target.tagName !== "CANVAS" ? -1 : this.pointAt(event.clientX, event.clientY);
    const card = $("#hover");
    card.hidden = point < 0;
    if (point < 0) return;
    card.replaceChildren(...this.describe(point));
    const left = event.clientX + 18, top = event.clientY + 14;
    card.style.left = `${Math.min(left, innerWidth - card.offsetWidth - 8)}px`;
    card.style.top = `${Math.min(top, innerHeight - card.offsetHeight - 8)}px`;
  }

  describe(point) {
    const { views, percent, parts, centre, radius, numbers } = this.shown;
    const label = (name) => views.find((view) => view.name === name)?.group[point];
    const [guess, truth] = [label("prediction"), label("ground truth")];
    const lines = [];
    if (truth !== undefined) lines.push(element("p", { textContent: `ground truth: ${parts[truth].name}` }));
    if (guess !== undefined) {
      const wrong = truth !== undefined && truth !== guess;
      lines.push(element("p", { className: wrong ? "wrong" : "", textContent: `prediction: ${parts[guess].name}` }));
    }
    parts.forEach((part, place) => {
      if (!percent) return;
      const share = `${percent[point * parts.length + place]}%`;
      const [name, number] = [part.name, share].map((textContent) => element("span", { textContent }));
      const bar = element("div", { className: "bar" }, name, element("b", {}), number);
      bar.style.setProperty("--colour", part.colour);
      bar.style.setProperty("--share", share);
      lines.push(bar);
    });
    const at = this.cloud.geometry.attributes.position.array.slice(3 * point, 3 * point + 3);
    const digits = Math.max(0, 3 - Math.floor(Math.log10(radius)));
    const place = Array.from(at, (value, axis) => (centre[axis] + radius * value).toFixed(digits)).join(", ");
    const number = numbers ? numbers[point] : point;
    lines.push(element("p", { className: "place", textContent: `point ${number} · ${place}` }));
    return lines;
  }

  listen() {
    const names = this.objects.map(({ category }, value) => `${value + 1} · ${category}`);
    $("#object").append(...names.map((textContent, value) => element("option", { value, textContent })));
    $("#objects").hidden = this.objects.length < 2;
    $("#object").onchange = (event) => this.choose(Number(event.target.value));
    $("#previous").onclick = () => this.choose(this.object - 1);
    $("#next").onclick = () => this.choose(this.object + 1);
    $("#all").onclick = () => { this.off.clear(); this.update(); };
    $("#size").oninput = () => this.paint();
    $("#reset").onclick = () => this.resetView();
    this.k3d.on(this.k3d.events.CAMERA_CHANGE, () => this.thin());
    let waiting = null;
    addEventListener("pointermove", (event) => {
      if (!waiting) requestAnimationFrame(() => { this.hover(waiting); waiting = null; });
      waiting = event;
    });
    addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input")) return;
      const key = event.key.toLowerCase();
      if (key === "n" || key === "b") this.choose(this.object + (key === "n" ? 1 : -1));
      else if (key === "r") this.resetView();
      else if (key in KEYS) this.look(KEYS[key]);
    });
  }
}

async function start() {
  const { CreateK3DAndLoadBinarySnapshot: load } = await library();
  const scene = bytes($("#points").textContent);
  const page = new Page(await load(scene, $("#canvas")), await unzipped("#details").json());
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
