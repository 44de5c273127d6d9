"use strict";
const $ = (id) => document.getElementById(id);
const MOST_DRAWN = 16e6;  // pixels that every browser can draw on a canvas
const PICTURES = "pictures=ids&pictures=confidence&pictures=color";
const RATE = 5;  // frames of a video that are looked at in a second of it

let network = { classes: [] };
let shown = null;  // the prediction on the stage: { answer, ids, confidence }
let source = null;  // the file that it is of
let frames = [];  // of a video: answers as blobs, which a browser may keep on its disk
let camera = null;
let work = new AbortController();  // of what was asked last; what is asked next ends it
let drawn = 0;  // pictures so far: one that took long does not replace a later one
let pointed = null;  // where the pointer was last, in parts of the stage
const hidden = new Set();

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);  // text stays text
  return element;
}

function say(text, wrong = false) {
  $("status").textContent = text || "\u00a0";
  $("status").classList.toggle("wrong", wrong);
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const bytesOf = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

async function ask(path, body, signal) {
  for (;;) {
    const headers = { "Content-Type": "application/octet-stream" };
    const response = await fetch(path, { method: "POST", body, signal, headers }).catch(() => {
      signal.throwIfAborted();
      throw new Error("the service does not answer; is it still running?");
    });
    if (response.ok) return response;
    const { detail } = await response.json().catch(() => ({ detail: `${response.status} ${response.statusText}` }));
    const wait = Number(response.headers.get("Retry-After"));  // of a full queue
    if (!wait) throw new Error(detail);
    say(detail);
    await pause(wait);
    signal.throwIfAborted();
  }
}

// The samples of a grey PNG of 8 bits. Browsers that hide who visits a page alter what is read from a canvas.
async function samplesOf(png, width, height) {
  const view = new DataView(png.buffer), parts = [];
  for (let at = 8; at < png.length; at += 12 + view.getUint32(at)) {
    if (view.getUint32(at + 4) === 0x49444154) parts.push(png.subarray(at + 8, at + 8 + view.getUint32(at)));  // IDAT
  }
  const inflated = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const lines = new Uint8Array(await new Response(inflated).arrayBuffer());
  const samples = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const kind = lines[y * (width + 1)];
    for (let x = 0, to = y * width, from = y * (width + 1) + 1; x < width; x++, to++, from++) {
      const left = x && kind ? samples[to - 1] : 0, up = y && kind ? samples[to - width] : 0, corner = x && y && kind ? samples[to - width - 1] : 0;
      let guess = 0;
      if (kind === 1) guess = left;
      else if (kind === 2) guess = up;
      else if (kind === 3) guess = (left + up) >> 1;
      else if (kind === 4) {
        const a = Math.abs(up - corner), b = Math.abs(left - corner), c = Math.abs(left + up - 2 * corner);
        guess = a <= b && a <= c ? left : b <= c ? up : corner;
      }
      samples[to] = lines[from] + guess;
    }
  }
  return samples;
}

function draw() {
  if (!shown) return;
  const { ids, answer: { width, height } } = shown;
  const step = Math.ceil(Math.sqrt(width * height / MOST_DRAWN));
  const canvas = $("mask");
  canvas.width = Math.ceil(width / step);
  canvas.height = Math.ceil(height / step);
  const picture = new ImageData(canvas.width, canvas.height), pixels = new Uint32Array(picture.data.buffer);
  const table = new Uint32Array(256), entries = new Uint8Array(table.buffer);
  for (const { id, color } of network.classes) {
    if (!hidden.has(id)) entries.set([1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)).concat(255), 4 * id);
  }
  for (let y = 0, to = 0; y < height; y += step) for (let x = 0; x < width; x += step) pixels[to++] = table[ids[y * width + x]];
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

function link(anchor, base64, ending) {
  if (anchor.href) URL.revokeObjectURL(anchor.href);
  anchor.href = URL.createObjectURL(new Blob([bytesOf(base64)], { type: "image/png" }));
  anchor.download = `${(source?.name ?? "camera").replace(/\.\w+$/, "")}${ending}.png`;
}

async function show(answer, picture, ending = "") {
  const turn = ++drawn;
  const [ids, confidence] = await Promise.all(["ids", "confidence"].map(
    (kind) => samplesOf(bytesOf(answer.pictures[kind]), answer.width, answer.height)));
  const url = URL.createObjectURL(picture);
  const image = new Image();
  image.src = url;
  await image.decode();
  if (turn !== drawn) return URL.revokeObjectURL(url);
  if ($("image").src) URL.revokeObjectURL($("image").src);
  $("image").src = url;
  shown = { answer, ids, confidence };
  draw();
  readOut();
  const shares = new Map(answer.classes.map((one) => [one.id, one]));
  for (const item of $("legend").children) {
    const share = shares.get(Number(item.dataset.id));
    item.classList.toggle("absent", !share);
    item.querySelector("span").textContent = share ? percent(share.share) : "";
    item.title = share ? `${share.pixels.toLocaleString("en")} pixels, mean confidence ${percent(share.confidence)}` : "";
  }
  link($("save-ids"), answer.pictures.ids, `${ending}-ids`);
  link($("save-color"), answer.pictures.color, `${ending}-colors`);
  $("result").hidden = false;
}

function point(event) {
  const box = $("stage").getBoundingClientRect();
  pointed = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  readOut();
}

function readOut() {
  if (!shown || !pointed) return;
  const { ids, confidence, answer: { width, height } } = shown;
  const x = Math.floor(pointed[0] * width), y = Math.floor(pointed[1] * height);
  if (x < 0 || y < 0 || x >= width || y >= height) return;
  const at = y * width + x, one = network.classes[ids[at]];
  $("hover").querySelector("i").style.background = one.color;
  $("hover").querySelector("span").textContent = `${one.name}, confidence ${percent(confidence[at] / 255)} (x ${x}, y ${y})`;
}

async function canShow(file) {
  const url = URL.createObjectURL(file), image = new Image();
  image.src = url;
  try { await image.decode(); return true; } catch { return false; } finally { URL.revokeObjectURL(url); }
}

async function predictImage(file, signal) {
  say(`predicting ${file.name ?? "a picture"} ...`);
  const asks = (await canShow(file)) ? "" : "&pictures=image";  // as of a TIFF
  const answer = await (await ask(`api/predict?${PICTURES}${asks}`, file, signal)).json();
  await show(answer, asks ? new Blob([bytesOf(answer.pictures.image)]) : file);
  say(`${answer.width} x ${answer.height} pixels in ${answer.milliseconds.toFixed(0)} ms`);
}

async function predictVideo(file, signal) {
  say(`reading ${file.name} ...`);
  frames = [];
  const response = await ask(`api/frames?${PICTURES}&pictures=image&frames_per_second=${RATE}`, file, signal);
  $("film").hidden = $("save-film").hidden = false;
  let rest = "";
  for await (const text of chunks(response.body.pipeThrough(new TextDecoderStream()))) {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const frame = JSON.parse(line);
      if (frame.detail) throw new Error(frame.detail);
      const follows = Number($("frame").value) >= frames.length - 1;
      frames.push(new Blob([line]));
      $("frame").max = frames.length - 1;
      if (follows) await showFrame(frames.length - 1, frame);
      signal.throwIfAborted();
      say(`frame ${frames.length} of about ${frame.frames}, ${frame.milliseconds.toFixed(0)} ms each`);
    }
  }
  say(`${frames.length} frames, ${RATE} or fewer a second`);
}

async function* chunks(stream) {  // not every browser iterates streams
  const reader = stream.getReader();
  for (let one = await reader.read(); !one.done; one = await reader.read()) yield one.value;
}

async function showFrame(index, known = null) {
  const frame = known ?? JSON.parse(await frames[index].text());
  $("frame").value = index;
  $("time").textContent = `${frame.seconds.toFixed(1)} s`;
  await show(frame, new Blob([bytesOf(frame.pictures.image)]), `-${index}`);
}

async function play() {
  const pressed = $("play").getAttribute("aria-pressed") !== "true";
  $("play").setAttribute("aria-pressed", pressed);
  let index = Number($("frame").value);
  if (index >= frames.length - 1) index = -1;
  while ($("play").getAttribute("aria-pressed") === "true" && ++index < frames.length) await Promise.all([showFrame(index), pause(1 / RATE)]);
  $("play").setAttribute("aria-pressed", false);
}

async function watch(signal) {
  if (!navigator.mediaDevices) throw new Error("browsers lend a page the camera only at localhost or over https");
  const lent = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, facingMode: "environment" } });
  if (signal.aborted) return stop(lent);  // the user was asked, and meanwhile something else was
  camera = lent;
  $("camera").setAttribute("aria-pressed", true);
  const video = make("video", { playsinline: "" }), canvas = make("canvas");
  video.muted = true;
  video.srcObject = camera;
  await video.play();
  while (camera && !signal.aborted) {
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    const picture = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
    const answer = await (await ask(`api/predict?${PICTURES}`, picture, signal)).json();
    await show(answer, picture);
    say(`camera: ${answer.width} x ${answer.height} pixels in ${answer.milliseconds.toFixed(0)} ms`);
  }
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}

function stopCamera() {
  if (camera) stop(camera);
  camera = null;
  $("camera").setAttribute("aria-pressed", false);
}

async function start(task, file = null) {
  work.abort();
  work = new AbortController();
  const { signal } = work;
  stopCamera();
  source = file;
  $("play").setAttribute("aria-pressed", false);
  $("film").hidden = $("save-film").hidden = true;
  $("frame").value = 0;
  try {
    await task(signal);
  } catch (error) {
    if (signal.aborted) return;
    stopCamera();
    say(error.message, true);
  }
}

function take(file) {
  if (!file) return;
  if (file.size > network.upload_bytes) return say(`${file.name} is larger than the ${network.upload_bytes.toLocaleString("en")} bytes that are taken here`, true);
  const isVideo = file.type.startsWith("video/") || /\.(mkv|avi|mov|mp4|webm|m4v|mpe?g|ts|wmv|flv|3gp)$/i.test(file.name);
  return start((signal) => (isVideo ? predictVideo : predictImage)(file, signal), file);
}

async function saveFilm(kind) {
  const { signal } = work, film = source;
  say("predicting the video again, for the file ...");
  try {
    const response = await ask(`api/video/${kind}?frames_per_second=${RATE}`, film, signal);
    const anchor = make("a", { download: `${film.name.replace(/\.\w+$/, "")}-${kind}.${kind === "ids" ? "zip" : "mp4"}` });
    anchor.href = URL.createObjectURL(await response.blob());
    anchor.click();
    say("");
  } catch (error) {
    if (!signal.aborted) say(error.message, true);
  }
}

function toggle(id, on) {
  if (on) hidden.delete(id);
  else hidden.add(id);
}

function toggleAll(on) {
  for (const box of $("legend").querySelectorAll("input")) {
    box.checked = on;
    toggle(Number(box.value), on);
  }
  draw();
}

async function open() {
  const response = await fetch("api/network");
  network = await response.json();
  const scales = network.scales.length > 1 ? `, ${network.scales.length} scales` : "";
  $("network").textContent = `${network.backbone}, ${network.classes.length} classes, ${network.device}${scales}${network.mirrored ? ", mirrored too" : ""}`;
  const anyTinted = network.classes.some((one) => one.tinted);
  for (const { id, name, color, tinted } of network.classes) {
    const box = make("input", { type: "checkbox", value: id }), swatch = make("i", { class: "swatch" });
    box.checked = tinted || !anyTinted;
    toggle(id, box.checked);
    swatch.style.background = color;
    $("legend").append(make("li", { "data-id": id }, make("label", {}, box, swatch, make("b", {}, name), make("span"))));
  }
  const address = location.origin;
  $("example").textContent = [
    `curl --data-binary @street.jpg ${address}/api/png/color -o mask.png   # or ids, confidence, overlay`,
    `curl --data-binary @street.jpg '${address}/api/predict?pictures=ids&pictures=confidence'`,
    `curl --data-binary @drive.mp4 ${address}/api/video/overlay -o mask.mp4   # or ids: a ZIP archive`,
    `curl -N --data-binary @drive.mp4 '${address}/api/frames?frames_per_second=2'`,
  ].join("\n");
  document.documentElement.dataset.ready = "yes";
}

document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  take(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
$("file").addEventListener("change", (event) => { take(event.target.files[0]); event.target.value = ""; });
$("camera").addEventListener("click", () => {
  if (!camera) return start(watch);
  work.abort();
  stopCamera();
  say("");
});
$("stage").addEventListener("pointermove", point);
$("stage").addEventListener("pointerdown", point);
$("opacity").addEventListener("input", () => { $("mask").style.opacity = $("opacity").value / 100; });
$("legend").addEventListener("change", ({ target }) => { toggle(Number(target.value), target.checked); draw(); });
$("all").addEventListener("click", () => toggleAll(true));
$("none").addEventListener("click", () => toggleAll(false));
$("frame").addEventListener("input", () => showFrame(Number($("frame").value)));
$("play").addEventListener("click", play);
$("save-film").addEventListener("click", ({ target }) => { if (target.dataset.kind) saveFilm(target.dataset.kind); });
$("mask").style.opacity = $("opacity").value / 100;
open().catch((error) => say(`the service does not answer (${error.message})`, true));
