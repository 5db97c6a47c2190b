// What part of the history is in view, and where in it: places of snapshots and lanes, and what lies under a point.
"use strict";

const GUTTER = 136;
const AXIS = 28;
const PILLS = 26;
const GRAPH = 46;
const BRANCH = 20;
const LANE_LEAST = 24;
const LANE_MOST = 32;
const EDGE = 22;
const MOST_BRANCHES = 5;
const REACH = 9;

class View {
  constructor(lineage, canvas, overview) {
    this.lineage = lineage;
    this.canvas = canvas;
    this.overview = overview;
    this.byTime = !isBursty(lineage.at);
    this.scroll = 0;
    this.lane = 0;
    this.selected = null;
    this.hovered = null;
    this.matches = [];
    this.isMatch = null;
    this.branchOf = branches(lineage);
    this.branchCount = this.branchOf.reduce((most, lane) => Math.max(most, lane), 0);
    this.top = AXIS + PILLS + GRAPH + this.branchCount * BRANCH;
    this.lanes = [{ type: "graph" }, ...lineage.aliasNames.map((name) => ({ type: "alias", name })),
      ...[...lineage.regions.keys()].map((region) => ({ type: "region", region }))];
    this.movesOf = new Map(lineage.aliasNames.map((name) => [name, lineage.moves.filter((move) => move.alias === name)]));
    this.spans = new Map([...lineage.regions.keys()].map((region) => [region, lineage.lives(region)]));
    this.place();
    this.fit();
  }

  // Units along the axis: seconds, or edits.
  place() {
    this.bars = null;
    const { at, size, moves } = this.lineage;
    this.unit = this.byTime ? Float64Array.from(at) : Float64Array.from({ length: size }, (_, i) => i);
    this.moveUnit = Float64Array.from(moves, (move) => (this.byTime ? move.at : after(at, move.at) - 0.5));
    // Several moves between two edits stand side by side.
    for (let m = 1; !this.byTime && m < moves.length; m++) {
      if (this.moveUnit[m] <= this.moveUnit[m - 1] && this.moveUnit[m - 1] - this.moveUnit[m] < 0.4) {
        this.moveUnit[m] = this.moveUnit[m - 1] + 0.12;
      }
    }
    const last = moves.length ? Math.max(this.unit[size - 1], this.moveUnit[moves.length - 1]) : this.unit[size - 1];
    const span = Math.max(last - this.unit[0], 1);
    this.bounds = [this.unit[0] - span * 0.01, this.unit[0] + span * 1.01];
  }

  resize() {
    this.bars = null;
    const ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.overview]) {
      canvas.width = Math.round(canvas.clientWidth * ratio);
      canvas.height = Math.round(canvas.clientHeight * ratio);
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.laneHeight = Math.max(LANE_LEAST, Math.min(LANE_MOST, (this.height - this.top - 8) / Math.max(1, this.lanes.length - 1)));
    this.scrollTo(this.scroll);
  }

  get inner() {
    return Math.max(1, this.width - GUTTER - 2 * EDGE);
  }

  x(unit) {
    return GUTTER + EDGE + ((unit - this.from) / (this.to - this.from)) * this.inner;
  }

  unitAt(x) {
    return this.from + ((x - GUTTER - EDGE) / this.inner) * (this.to - this.from);
  }

  fit() {
    [this.from, this.to] = this.bounds;
  }

  // Shows a part of the axis, never outside of the history and never narrower than a few edits.
  show(from, to) {
    const [first, last] = this.bounds;
    const least = this.byTime ? 2 : 4;
    const span = Math.min(Math.max(to - from, least), last - first);
    const start = Math.min(Math.max(from + (to - from - span) / 2, first), last - span);
    [this.from, this.to] = [start, start + span];
  }

  zoom(factor, x) {
    const unit = x === undefined ? (this.from + this.to) / 2 : this.unitAt(x);
    this.show(unit - (unit - this.from) * factor, unit + (this.to - unit) * factor);
  }

  pan(pixels) {
    const units = (pixels / this.inner) * (this.to - this.from);
    this.show(this.from + units, this.to + units);
  }

  // The height of all lanes below the graph.
  get content() {
    return (this.lanes.length - 1) * this.laneHeight + 8;
  }

  get overflows() {
    return this.content > this.height - this.top + 1;
  }

  scrollTo(y) {
    this.scroll = Math.max(0, Math.min(y, this.content - (this.height - this.top)));
  }

  // Brings a snapshot into view, with room around it where the view is far out.
  reveal(i, close) {
    const [x, margin] = [this.x(this.unit[i]), 60];
    if (x < GUTTER + margin || x > this.width - margin) {
      const half = (this.to - this.from) / 2;
      this.show(this.unit[i] - half, this.unit[i] + half);
    }
    if (close && this.spacing() < 12) {
      const [a, b] = [Math.max(0, i - 12), Math.min(this.lineage.size - 1, i + 12)];
      const half = Math.max(this.unit[b] - this.unit[i], this.unit[i] - this.unit[a]);
      this.show(this.unit[i] - half, this.unit[i] + half);
    }
  }

  revealLane() {
    if (!this.lane) return;
    const y = (this.lane - 1) * this.laneHeight;
    const room = this.height - this.top - this.laneHeight;
    if (y < this.scroll) this.scrollTo(y);
    else if (y > this.scroll + room) this.scrollTo(y - room);
  }

  setMatches(found) {
    this.matches = found;
    this.isMatch = null;
    this.bars = null;
    if (!found) return;
    this.isMatch = new Uint8Array(this.lineage.size);
    for (const i of found) this.isMatch[i] = 1;
  }

  // The first and the one after the last snapshot on the screen.
  visible() {
    const pad = ((this.to - this.from) / this.inner) * 40;
    return [before(this.unit, this.from - pad), after(this.unit, this.to + pad)];
  }

  spacing() {
    const [a, b] = [before(this.unit, this.from), after(this.unit, this.to)];
    return this.inner / Math.max(1, b - a);
  }

  laneY(lane) {
    return lane ? Math.round(this.top + (lane - 0.5) * this.laneHeight - this.scroll) : AXIS + PILLS + 15;
  }

  snapshotY(i) {
    const branch = this.branchOf[i];
    return branch ? AXIS + PILLS + GRAPH + (branch - 1) * BRANCH + BRANCH / 2 : this.laneY(0);
  }

  overviewX(unit) {
    const [first, last] = this.bounds;
    return ((unit - first) / (last - first)) * this.overview.clientWidth;
  }

  overviewUnit(x) {
    const [first, last] = this.bounds;
    return first + (x / this.overview.clientWidth) * (last - first);
  }

  // What lies under a point: a snapshot, a move of an alias, or the name of a lane.
  at(x, y) {
    const lane = y < this.top ? 0 : 1 + Math.floor((y - this.top + this.scroll) / this.laneHeight);
    if (lane >= this.lanes.length || y < AXIS) return null;
    const { type, name, region } = this.lanes[lane];
    if (x < GUTTER) return type === "alias" ? { type, name, lane } : type === "region" ? { type, region, lane } : null;
    if (type === "graph") return this.nearest(x, y);
    if (type === "alias") return this.nearestMove(name, x, lane);
    return this.nearestChange(region, x, lane);
  }

  nearest(x, y) {
    let [best, least] = [NONE, REACH * REACH * 4];
    const [from, to] = this.range;
    for (let i = from; i < to; i++) {
      const [dx, dy] = [this.x(this.unit[i]) - x, this.snapshotY(i) - y];
      const distance = dx * dx + dy * dy * 0.5;
      if (distance < least) [best, least] = [i, distance];
    }
    return best === NONE ? null : { type: "snapshot", i: best, lane: 0 };
  }

  // A move near the point, else the one that the bar under it began with.
  nearestMove(name, x, lane) {
    const past = this.movesOf.get(name).filter((move) => this.x(this.moveUnit[move.number]) <= x + REACH);
    return past.length ? { type: "move", m: past[past.length - 1].number, lane } : null;
  }

  nearestChange(region, x, lane) {
    const changes = this.lineage.regions.get(region);
    const [best, least] = changes.reduce(([kept, near], change) => {
      const distance = Math.abs(this.x(this.unit[this.lineage.ofChange[change]]) - x);
      return distance < near ? [change, distance] : [kept, near];
    }, [NONE, REACH + this.radius]);
    return best === NONE || least > REACH + this.radius ? null : { type: "snapshot", i: this.lineage.ofChange[best], lane };
  }

  selectedSnapshot() {
    if (!this.selected) return NONE;
    if (this.selected.type === "snapshot") return this.selected.i;
    return this.selected.type === "move" ? this.lineage.moves[this.selected.m].target : NONE;
  }
}

// Snapshot -> the lane of its side branch, 0 on the main line: branches that overlap in time lie beside each other.
function branches(lineage) {
  const lane = new Int32Array(lineage.size);
  const tip = new Int32Array(lineage.size);
  const end = new Int32Array(MOST_BRANCHES + 1).fill(NONE);
  const last = Int32Array.from({ length: lineage.size }, (_, i) => i);
  for (let i = lineage.size - 1; i >= 0; i--) {
    const parent = lineage.parent[i];
    if (parent !== NONE && !lineage.onMain[i] && !lineage.onMain[parent]) last[parent] = Math.max(last[parent], last[i]);
  }
  for (let i = 0; i < lineage.size; i++) {
    if (lineage.onMain[i]) continue;
    const parent = lineage.parent[i];
    const goesOn = parent !== NONE && lane[parent] && !tip[parent];
    if (goesOn) {
      tip[parent] = 1;
      lane[i] = lane[parent];
      continue;
    }
    let free = 1;
    while (free < MOST_BRANCHES && end[free] >= (parent === NONE ? i : parent)) free++;
    lane[i] = free;
    end[free] = Math.max(end[free], last[i]);
  }
  return lane;
}
