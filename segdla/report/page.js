"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const LAYERS = ["image", "truth", "prediction", "error", "uncertainty"];
const cards = document.getElementById("cards");
const behind = document.getElementById("behind");
const viewer = document.getElementById("viewer");
const NEAR = "800px";  // of the window: pictures that close get their images
let series = [];  // names of the pictures that the viewer steps through

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);  // text stays text
  return element;
}

const percent = (share) => (share === null ? "-" : (100 * share).toFixed(1));

function stage(name, tag) {
  return make(tag, { class: "stage waiting", "data-image": name, ...(tag === "button" ? { type: "button" } : {}) });
}

// Images are made when they come near the window: thousands of them at once would take seconds.
function fill(stage) {
  const images = document.getElementById(`picture-${data.pictures[stage.dataset.image].place}`);
  if (images === null || !stage.classList.contains("waiting")) return images !== null;  // perhaps not read yet
  const layers = JSON.parse(images.textContent);
  stage.append(...LAYERS.map((layer) => make("img", {
    class: layer === "image" ? "image" : `over ${layer}`, src: layers[layer], alt: layer === "image" ? stage.dataset.image : "", decoding: "async",
  })));
  stage.classList.remove("waiting");
  return true;
}

const nearby = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting && fill(target)) nearby.unobserve(target);
  }
}, { rootMargin: NEAR });

function observe() {
  nearby.disconnect();
  for (const waiting of document.querySelectorAll(".stage.waiting")) nearby.observe(waiting);
}

function card(name) {
  const picture = data.pictures[name];
  const caption = `${name}: mIoU ${percent(picture.mean_iou)} %, ${percent(picture.wrong)} % wrong`;
  return make("figure", { class: "card" }, stage(name, "button"), make("figcaption", {}, caption));
}

function showGallery() {
  const [, names] = data.gallery[document.getElementById("which").selectedIndex];
  cards.replaceChildren(...names.filter((name) => name in data.pictures).map(card));
  observe();
  if (!cards.children.length) cards.append(make("p", {}, "No image has a wrong pixel here."));
}

function showBehind(cell) {
  const [truth, predicted] = cell.split(",").map(Number);
  const list = make("ul", { class: "names" });
  for (const [name, pixels] of data.behind[cell] || []) {
    const share = `${pixels.toLocaleString("en")} pixels, ${percent(pixels / data.pixels[truth])} % of all ${data.classes[truth]}: `;
    const known = name in data.pictures;
    list.append(make("li", {}, share, known ? make("button", { class: "link", type: "button", "data-image": name }, name) : name));
  }
  behind.replaceChildren(make("h3", {}, `${data.classes[truth]} called ${data.classes[predicted]}: the images with most of it`), list);
  behind.hidden = false;
  for (const button of document.querySelectorAll(".matrix button")) button.setAttribute("aria-pressed", button.dataset.cell === cell);
}

function open(name) {
  if (!(name in data.pictures)) return;
  viewer.querySelector("b").textContent = name;
  const shown = stage(name, "div");
  fill(shown);
  viewer.querySelector(".stage").replaceWith(shown);
  viewer.dataset.image = name;
  if (!viewer.open) viewer.showModal();
  observe();
}

function step(by) {
  const place = series.indexOf(viewer.dataset.image);
  open(series[(place + by + series.length) % series.length]);
}

function setLayer(layer) {
  document.documentElement.dataset.layer = layer;
  document.querySelector(`input[name=layer][value=${layer}]`).checked = true;
}

function sort(header) {
  const table = header.closest("table");
  const column = [...header.parentNode.children].indexOf(header);
  const rising = header.getAttribute("aria-sort") === "descending";
  const key = (row) => {
    const cell = row.children[column];
    const text = cell.dataset.v ?? cell.textContent;
    return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
  };
  const sorted = [...table.tBodies[0].rows].map((row) => [key(row), row]).sort(([a], [b]) => {
    if ((a === "") !== (b === "")) return a === "" ? 1 : -1;  // what is absent comes last
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    return rising ? order : -order;
  });
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", rising ? "ascending" : "descending");
  table.tBodies[0].append(...sorted.map(([, row]) => row));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.closest(".sortable thead")) sort(button.closest("th"));
  else if (button.dataset.cell) {
    showBehind(button.dataset.cell);
    behind.scrollIntoView({ block: "nearest" });
  } else if (button.dataset.step) step(Number(button.dataset.step));
  else if (button.dataset.image) {
    const beside = [...button.closest("#cards, ul, ol").querySelectorAll("[data-image]")];
    series = [...new Set(beside.map((one) => one.dataset.image))];
    open(button.dataset.image);
  }
});
document.addEventListener("keydown", (event) => {
  if (!viewer.open) return;
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") step(event.key === "ArrowLeft" ? -1 : 1);
  else if (LAYERS[event.key - 1]) setLayer(LAYERS[event.key - 1]);
});
document.addEventListener("change", (event) => {
  if (event.target.id === "which") showGallery();
  else if (event.target.name === "layer") setLayer(event.target.value);
});
document.getElementById("wipe").addEventListener("input", (event) => {
  document.documentElement.style.setProperty("--wipe", `${event.target.value}%`);
});
addEventListener("DOMContentLoaded", observe);  // the images follow this script, so that the page answers at once
addEventListener("beforeprint", () => cards.querySelectorAll(".waiting").forEach(fill));
setLayer("error");
showGallery();
document.documentElement.dataset.ready = "yes";
