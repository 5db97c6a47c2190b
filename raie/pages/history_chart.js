// The time line on a canvas: axis, graph, lanes of aliases and regions, and the whole history in a strip below.
"use strict";

const BAR_ORDER = ["hit", "rollback", "pick", "grow", "start", "edit", "dim"];
const SMALL = 2.2;
const BIN = 2;

class Chart extends View {
  constructor(lineage, canvas, overview) {
    super(lineage, canvas, overview);
    this.colours = palette();
  }

  draw() {
    const pen = this.canvas.getContext("2d");
    pen.clearRect(0, 0, this.width, this.height);
    pen.textBaseline = "middle";
    this.range = this.visible();
    this.radius = Math.max(1, Math.min(6.5, this.spacing() * 0.55));
    this.drawLanes(pen);
    pen.save();
    pen.beginPath();
    pen.rect(GUTTER, 0, this.width - GUTTER, this.height);
    pen.clip();
    this.drawAxis(pen);
    this.drawColumn(pen);
    this.drawLower(pen);
    this.drawGraph(pen);
    this.drawPills(pen);
    pen.restore();
    this.drawNames(pen);
    this.drawOverview();
  }

  font(pen, size, weight) {
    pen.font = `${weight || 400} ${size}px system-ui, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif`;
  }

  drawLanes(pen) {
    const { lane, card, wash } = this.colours;
    this.lanes.forEach((_, n) => {
      if (!n) return;
      const y = this.top + (n - 1) * this.laneHeight - this.scroll;
      if (y + this.laneHeight < this.top || y > this.height) return;
      pen.fillStyle = n === this.lane ? wash : n % 2 ? lane : card;
      pen.fillRect(0, y, this.width, this.laneHeight);
    });
    pen.fillStyle = card;
    pen.fillRect(0, 0, this.width, this.top);
    if (this.lane) return;
    pen.fillStyle = wash;
    pen.fillRect(0, AXIS + PILLS, GUTTER, GRAPH);
  }

  drawAxis(pen) {
    const { soft, line } = this.colours;
    this.font(pen, 11.5);
    pen.lineWidth = 1;
    for (const [unit, label] of this.ticks()) {
      const x = Math.round(this.x(unit)) + 0.5;
      pen.strokeStyle = line;
      pen.beginPath();
      pen.moveTo(x, AXIS - 7);
      pen.lineTo(x, this.height);
      pen.stroke();
      pen.fillStyle = soft;
      if (x + 6 + pen.measureText(label).width < this.width) pen.fillText(label, x + 4, AXIS / 2 - 1);
    }
  }

  ticks() {
    const room = 112;
    if (this.byTime) return timeTicks(this.from, this.to, ((this.to - this.from) / this.inner) * room);
    const { at, size } = this.lineage;
    const step = niceStep(((this.to - this.from) / this.inner) * room);
    const first = Math.max(0, Math.ceil(this.from / step) * step);
    const found = [];
    for (let i = first; i < size && i <= this.to; i += step) found.push([i, tickLabel(at[i], (at[size - 1] - at[0]) / 8)]);
    return found;
  }

  drawColumn(pen) {
    const i = this.selectedSnapshot();
    if (i === NONE) return;
    const x = Math.round(this.x(this.unit[i])) + 0.5;
    pen.strokeStyle = this.colours.accent;
    pen.globalAlpha = 0.55;
    pen.beginPath();
    pen.moveTo(x, AXIS + PILLS);
    pen.lineTo(x, this.height);
    pen.stroke();
    pen.globalAlpha = 1;
  }

  // Aliases and regions, which scroll below the graph.
  drawLower(pen) {
    pen.save();
    pen.beginPath();
    pen.rect(GUTTER, this.top, this.width, this.height);
    pen.clip();
    this.lanes.forEach((lane, n) => {
      const y = this.laneY(n);
      if (!n || y < this.top - this.laneHeight || y > this.height + this.laneHeight) return;
      if (lane.type === "alias") this.drawAlias(pen, lane.name, y);
      else this.drawRegion(pen, lane.region, y);
    });
    pen.restore();
  }

  drawAlias(pen, name, y) {
    const { move: colour, ink } = this.colours;
    const moves = this.movesOf.get(name);
    const now = name in this.lineage.raw.aliases;
    this.font(pen, 11.5);
    moves.forEach((move, n) => {
      const x = this.x(this.moveUnit[move.number]);
      const last = n + 1 === moves.length;
      const next = last ? this.width : this.x(this.moveUnit[moves[n + 1].number]);
      const end = move.target === NONE || (last && !now) ? x : next;
      if (end < GUTTER || x > this.width) return;
      pen.fillStyle = colour;
      pen.globalAlpha = n % 2 ? 0.16 : 0.28;
      if (end > x) pen.fillRect(x, y - 8, Math.max(0.6, end - x), 16);
      pen.globalAlpha = 1;
      const room = end - Math.max(x, GUTTER) - 18;
      if (next - x > 9) this.drawMove(pen, move, x, y);
      pen.fillStyle = ink;
      if (room > 44) pen.fillText(this.lineage.goal(move), Math.max(x, GUTTER) + 12, y + 0.5);
    });
  }

  // A flag; where the alias went back in history, a triangle to the left; where it ended, a cross.
  drawMove(pen, move, x, y) {
    const [shape, colour] = look(this.lineage.manner(move));
    const chosen = this.selected && this.selected.type === "move" && this.selected.m === move.number;
    this.mark(pen, shape, this.colours[colour], x, y, chosen ? 7 : 5.5);
  }

  drawRegion(pen, region, y) {
    const { lineage, unit } = this;
    pen.strokeStyle = this.colours.soft;
    pen.globalAlpha = 0.45;
    for (const [from, to] of this.spans.get(region)) {
      const [a, b] = [this.x(unit[from]), to === NONE ? this.x(unit[lineage.head]) : this.x(unit[to])];
      if (b < GUTTER || a > this.width) continue;
      pen.beginPath();
      pen.moveTo(Math.max(a, GUTTER), y);
      pen.lineTo(Math.min(b, this.width), y);
      pen.stroke();
    }
    pen.globalAlpha = 1;
    const changes = lineage.regions.get(region);
    const first = before(changes, this.range[0], (change) => lineage.ofChange[change]);
    this.marks(pen, y, 0.85, function* () {
      for (let n = first; n < changes.length && lineage.ofChange[changes[n]] < this.range[1]; n++) {
        yield [lineage.ofChange[changes[n]], ...look(lineage.action(changes[n])), y];
      }
    }.bind(this));
  }

  drawGraph(pen) {
    const { lineage, unit } = this;
    const [from, to] = this.range;
    const y = this.laneY(0);
    const main = [];
    for (let i = from; i < to; i++) if (lineage.onMain[i]) main.push(i);
    pen.strokeStyle = this.colours.soft;
    pen.lineWidth = 1.5;
    if (main.length) {
      const start = lineage.parent[main[0]] === NONE ? this.x(unit[main[0]]) : GUTTER;
      const end = main[main.length - 1] === lineage.head ? this.x(unit[lineage.head]) : this.width;
      pen.beginPath();
      pen.moveTo(start, y);
      pen.lineTo(end, y);
      pen.stroke();
    }
    this.drawBranches(pen, from, to);
    this.drawArcs(pen);
    pen.lineWidth = 1;
    this.marks(pen, y, 1, function* () {
      for (let i = from; i < to; i++) yield [i, ...look(lineage.kindOf(i)), this.snapshotY(i)];
    }.bind(this));
    this.drawNumbers(pen, main);
  }

  drawBranches(pen, from, to) {
    const { lineage, unit } = this;
    if (this.radius < SMALL) return;
    pen.globalAlpha = 0.8;
    pen.beginPath();
    for (let i = from; i < to; i++) {
      const parent = lineage.parent[i];
      if (!this.branchOf[i] || parent === NONE) continue;
      const [x, y, px, py] = [this.x(unit[i]), this.snapshotY(i), this.x(unit[parent]), this.snapshotY(parent)];
      pen.moveTo(px, py);
      if (py === y) pen.lineTo(x, y);
      else pen.bezierCurveTo(px + Math.min(20, (x - px) / 2), y, px + Math.min(8, (x - px) / 2), y, Math.min(px + 26, x), y);
      pen.lineTo(x, y);
    }
    pen.stroke();
    pen.globalAlpha = 1;
  }

  // From the selected rollback to what it took back, and from the selected edit to what took it back.
  drawArcs(pen) {
    const i = this.selectedSnapshot();
    if (i === NONE) return;
    const { lineage } = this;
    const ends = lineage.raw.returns_to[i] !== undefined ? [lineage.raw.returns_to[i]] : lineage.undoes(i).map((n) => lineage.byEdit.get(n));
    const by = lineage.byEdit.get(lineage.undoneBy(i));
    pen.strokeStyle = this.colours.rollback;
    pen.setLineDash([4, 3]);
    for (const end of [...ends, by]) {
      if (end === undefined) continue;
      const [a, b] = [this.x(this.unit[i]), this.x(this.unit[end])];
      const [ya, yb] = [this.snapshotY(i), this.snapshotY(end)];
      pen.beginPath();
      pen.moveTo(a, ya - 8);
      pen.bezierCurveTo(a + (b - a) * 0.15, AXIS + 8, b - (b - a) * 0.15, AXIS + 8, b, yb - 8);
      pen.stroke();
    }
    pen.setLineDash([]);
  }

  // Marks of snapshots: whole shapes where there is room, else one tick for each pixel and colour.
  marks(pen, y, scale, items) {
    const r = this.radius * scale;
    const ticks = new Map();
    for (const [i, shape, colour, at] of items()) {
      const x = this.x(this.unit[i]);
      const dim = this.isMatch && !this.isMatch[i];
      if (r < SMALL) {
        this.count(ticks, Math.floor(x / BIN), at, dim ? "dim" : this.isMatch ? "hit" : colour);
        continue;
      }
      if (this.isMatch && !dim) this.halo(pen, x, at, r);
      pen.globalAlpha = dim ? 0.25 : this.lineage.onMain[i] || scale === 1 ? 1 : 0.6;
      this.mark(pen, shape, this.colours[colour], x, at, r, scale === 1 && this.lineage.undoneBy(i) !== undefined);
      pen.globalAlpha = 1;
      if (this.selectedSnapshot() === i) this.ring(pen, x, at, r);
    }
    this.drawBars(pen, ticks, scale === 1 ? 8 : 6);
  }

  count(bars, column, y, colour) {
    const key = column + y * 65536;
    if (!bars.has(key)) bars.set(key, new Map());
    const bar = bars.get(key);
    bar.set(colour, (bar.get(colour) || 0) + 1);
  }

  // One bar for each few pixels, divided by what happened there; among matches only they have a colour.
  drawBars(pen, bars, half) {
    for (const [key, bar] of bars) {
      const y = Math.floor(key / 65536);
      const all = [...bar.values()].reduce((sum, n) => sum + n, 0);
      let top = y - half;
      for (const colour of BAR_ORDER.filter((name) => bar.has(name))) {
        const share = bar.get(colour) / all;
        const tall = 2 * half * (colour === "hit" ? Math.max(0.5, share) : share);
        pen.fillStyle = this.colours[colour === "dim" ? "line" : colour === "hit" ? "move" : colour];
        pen.fillRect((key - y * 65536) * BIN, top, BIN - 0.4, Math.min(tall, y + half - top));
        top += tall;
        if (top >= y + half) break;
      }
    }
  }

  // Filled; an edit that was taken back is hollow and struck through.
  mark(pen, shape, colour, x, y, r, undone) {
    pen.beginPath();
    outline(shape, pen, x, y, r);
    pen.fillStyle = undone ? this.colours.card : colour;
    pen.fill();
    if (!undone) return;
    pen.strokeStyle = colour;
    pen.lineWidth = 1.4;
    pen.stroke();
    pen.beginPath();
    pen.moveTo(x - r * 1.4, y + r * 1.4);
    pen.lineTo(x + r * 1.4, y - r * 1.4);
    pen.stroke();
    pen.lineWidth = 1;
  }

  halo(pen, x, y, r) {
    pen.fillStyle = this.colours.match;
    pen.beginPath();
    pen.arc(x, y, r + 4, 0, 2 * Math.PI);
    pen.fill();
  }

  ring(pen, x, y, r) {
    pen.strokeStyle = this.colours.accent;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(x, y, r + 4.5, 0, 2 * Math.PI);
    pen.stroke();
    pen.lineWidth = 1;
  }

  // Numbers of edits below the main line where they fit, and reasons where there is much room.
  drawNumbers(pen, main) {
    const y = this.laneY(0) + 20;
    const [ink, soft] = [this.colours.ink, this.colours.soft];
    let free = -Infinity;
    main.forEach((i, n) => {
      const x = this.x(this.unit[i]);
      const next = n + 1 < main.length ? this.x(this.unit[main[n + 1]]) : this.width;
      const number = String(this.lineage.edit[i]);
      this.font(pen, 11.5, 600);
      const half = pen.measureText(number).width / 2;
      if (x - half < free) return;
      pen.fillStyle = ink;
      pen.fillText(number, x - half, y);
      free = x + half + 8;
      if (next - x < 90) return;
      this.font(pen, 11.5);
      pen.fillStyle = soft;
      const reason = fitted(pen, this.lineage.text(this.lineage.reason[i]).replace(/\s+/g, " "), next - free - 14);
      pen.fillText(reason, free, y);
      if (reason) free += pen.measureText(reason).width + 8;
    });
  }

  // What points at a snapshot now, as a label above it.
  drawPills(pen) {
    const { lineage } = this;
    const named = new Map([...lineage.aliasesAt].map(([i, names]) => [i, [...names]]));
    if (lineage.head !== NONE) named.set(lineage.head, ["head", ...(named.get(lineage.head) || [])]);
    this.font(pen, 11.5, 600);
    let free = Infinity;
    // From the right, because the newest matter most.
    for (const i of [...named.keys()].sort((a, b) => this.unit[b] - this.unit[a])) {
      const x = this.x(this.unit[i]);
      if (x < GUTTER || x > this.width) continue;
      const label = fitted(pen, named.get(i).join(" · "), 220);
      const width = pen.measureText(label).width + 14;
      const left = Math.max(GUTTER + 2, Math.min(x - width / 2, this.width - width - 4, free - width - 4));
      if (left > x || left + width < x - 60) continue;
      free = left;
      this.pill(pen, label, left, AXIS + 2, width, x);
    }
  }

  pill(pen, label, left, top, width, x) {
    pen.fillStyle = this.colours.wash;
    pen.strokeStyle = this.colours.accent;
    pen.beginPath();
    pen.roundRect(left + 0.5, top + 0.5, width, 17, 8);
    pen.fill();
    pen.stroke();
    pen.beginPath();
    pen.moveTo(Math.min(Math.max(x, left + 6), left + width - 6), top + 18);
    pen.lineTo(x, top + 26);
    pen.stroke();
    pen.fillStyle = this.colours.accent;
    pen.fillText(label, left + 7.5, top + 9.5);
  }

  // The names of the lanes, which stay where they are.
  drawNames(pen) {
    const { ink, soft, line, card } = this.colours;
    pen.strokeStyle = line;
    pen.beginPath();
    pen.moveTo(GUTTER - 0.5, 0);
    pen.lineTo(GUTTER - 0.5, this.height);
    pen.moveTo(0, this.top - 0.5);
    pen.lineTo(this.width, this.top - 0.5);
    pen.stroke();
    this.font(pen, 12, 600);
    pen.fillStyle = ink;
    pen.fillText("snapshots", 12, this.laneY(0));
    this.font(pen, 11.5);
    pen.fillStyle = soft;
    if (this.branchCount) pen.fillText("side branches", 12, AXIS + PILLS + GRAPH + BRANCH / 2);
    pen.save();
    pen.beginPath();
    pen.rect(0, this.top, GUTTER, this.height - this.top);
    pen.clip();
    this.lanes.forEach((lane, n) => {
      const y = this.laneY(n);
      if (!n || y < this.top - this.laneHeight || y > this.height + this.laneHeight) return;
      const count = String(lane.type === "alias" ? this.movesOf.get(lane.name).length : this.lineage.regions.get(lane.region).length);
      this.font(pen, 11.5);
      pen.fillStyle = soft;
      const width = pen.measureText(count).width;
      pen.fillText(count, GUTTER - 10 - width, y + 0.5);
      this.font(pen, 12, lane.type === "alias" ? 600 : 400);
      pen.fillStyle = ink;
      pen.fillText(fitted(pen, lane.type === "alias" ? lane.name : `region ${lane.region}`, GUTTER - 30 - width), 12, y + 0.5);
    });
    pen.restore();
    this.drawScrollbar(pen, card);
  }

  drawScrollbar(pen) {
    if (!this.overflows) return;
    const [content, room] = [this.content, this.height - this.top];
    pen.fillStyle = this.colours.soft;
    pen.globalAlpha = 0.4;
    pen.beginPath();
    pen.roundRect(this.width - 7, this.top + 2 + (this.scroll / content) * room, 4, Math.max(18, (room / content) * room - 4), 2);
    pen.fill();
    pen.globalAlpha = 1;
  }

  // The whole history in one strip: how many edits lie where, which match, and what the chart above shows.
  drawOverview() {
    const pen = this.overview.getContext("2d");
    const [width, height] = [this.overview.clientWidth, this.overview.clientHeight];
    const { soft, accent, move, rollback } = this.colours;
    pen.clearRect(0, 0, width, height);
    this.bars = this.bars || this.density(width);
    const { bars } = this;
    const most = Math.max(1, ...bars.all);
    bars.all.forEach((count, x) => {
      if (!count) return;
      const tall = (height - 14) * Math.max(0.12, count / most);
      pen.fillStyle = this.isMatch ? this.colours.line : soft;
      pen.fillRect(x * 2, height - 4 - tall, 1.6, tall);
      if (!bars.hits[x]) return;
      const found = Math.max(3, (tall * bars.hits[x]) / count);
      pen.fillStyle = move;
      pen.fillRect(x * 2, height - 4 - found, 1.8, found);
    });
    pen.fillStyle = rollback;
    bars.back.forEach((count, x) => count && pen.fillRect(x * 2, 3, 1.8, 4));
    const [a, b] = [this.overviewX(this.from), this.overviewX(this.to)];
    pen.fillStyle = accent;
    pen.globalAlpha = 0.12;
    pen.fillRect(a, 0, Math.max(2, b - a), height);
    pen.globalAlpha = 1;
    pen.strokeStyle = accent;
    pen.strokeRect(a + 0.5, 0.5, Math.max(2, b - a - 1), height - 1);
  }

  density(width) {
    const count = Math.max(1, Math.ceil(width / 2));
    const [all, hits, back] = [new Uint32Array(count), new Uint32Array(count), new Uint32Array(count)];
    for (let i = 0; i < this.lineage.size; i++) {
      const x = Math.min(count - 1, Math.max(0, Math.floor(this.overviewX(this.unit[i]) / 2)));
      all[x]++;
      if (this.isMatch && this.isMatch[i]) hits[x]++;
      if (this.lineage.kindOf(i) === "rollback") back[x]++;
    }
    return { all, hits, back };
  }
}

function fitted(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  let [low, high] = [0, Math.min(text.length, 200)];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (pen.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low > 1 ? `${text.slice(0, low)}…` : "";
}
