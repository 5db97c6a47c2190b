// What each kind of edit and action looks like, on a canvas and in an SVG: a shape and a colour.
"use strict";

// What happened -> its shape and the name of its colour: neither alone carries the meaning.
const LOOKS = {
  setup: ["square", "start"], edit: ["circle", "edit"], update: ["circle", "edit"], expand: ["ring", "grow"],
  add: ["plus", "grow"], rollback: ["left", "rollback"], revert: ["left", "rollback"], compose: ["diamond", "pick"],
  replace: ["diamond", "pick"], import: ["down", "pick"], merge: ["hourglass", "grow"], split: ["up", "grow"],
  retire: ["cross", "start"], move: ["flag", "move"],
};
const OTHER = ["circle", "start"];
const COLOURS = ["paper", "card", "ink", "soft", "line", "accent", "wash", "edit", "rollback", "pick", "grow", "start", "move", "match",
  "lane"];

function look(word) {
  return LOOKS[word] || OTHER;
}

// The colours of the scheme that is on now, as a canvas takes them.
function palette() {
  const probe = document.createElement("i");
  document.body.append(probe);
  const found = {};
  for (const name of COLOURS) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}

// Adds a shape's outline around a point; r is half of its width.
function outline(shape, path, x, y, r) {
  if (shape === "square") path.rect(x - r * 0.88, y - r * 0.88, r * 1.76, r * 1.76);
  else if (shape === "diamond") polygon(path, [[x, y - r * 1.2], [x + r * 1.2, y], [x, y + r * 1.2], [x - r * 1.2, y]]);
  else if (shape === "left") polygon(path, [[x - r * 1.2, y], [x + r * 0.9, y - r * 1.15], [x + r * 0.9, y + r * 1.15]]);
  else if (shape === "up") polygon(path, [[x, y - r * 1.2], [x + r * 1.15, y + r * 0.9], [x - r * 1.15, y + r * 0.9]]);
  else if (shape === "down") polygon(path, [[x, y + r * 1.2], [x + r * 1.15, y - r * 0.9], [x - r * 1.15, y - r * 0.9]]);
  else if (shape === "hourglass") polygon(path, [[x - r, y - r], [x + r, y - r], [x - r, y + r], [x + r, y + r]]);
  else if (shape === "plus") polygon(path, arms(x, y, r * 1.15, r * 0.36, 0));
  else if (shape === "cross") polygon(path, arms(x, y, r * 1.3, r * 0.32, Math.PI / 4));
  else if (shape === "flag") polygon(path, [[x - r * 0.2, y - r * 1.2], [x + r * 1.3, y - r * 0.5], [x - r * 0.2, y + r * 0.2],
    [x - r * 0.2, y + r * 1.2], [x - r * 0.65, y + r * 1.2], [x - r * 0.65, y - r * 1.2]]);
  else circles(shape, path, x, y, r);
}

function circles(shape, path, x, y, r) {
  path.moveTo(x + r, y);
  path.arc(x, y, r, 0, 2 * Math.PI);
  if (shape !== "ring") return;
  path.moveTo(x + r * 0.45, y);
  path.arc(x, y, r * 0.45, 0, 2 * Math.PI, true);
}

function polygon(path, points) {
  points.forEach(([x, y], n) => (n ? path.lineTo(x, y) : path.moveTo(x, y)));
  path.closePath();
}

// The twelve corners of a plus, turned by an angle.
function arms(x, y, long, half, angle) {
  const corners = [[half, -long], [half, -half], [long, -half], [long, half], [half, half], [half, long], [-half, long], [-half, half],
    [-long, half], [-long, -half], [-half, -half], [-half, -long]];
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return corners.map(([a, b]) => [x + a * c - b * s, y + a * s + b * c]);
}
