// The axis of the time line: searching in sorted numbers, and labels that are as exact as their distance asks for.
"use strict";

const STEPS_S = [1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 1209600];
const MONTH_S = 2629800;
const STEPS_MONTHS = [1, 3, 6, 12, 24, 60, 120, 240, 600];

// Whether most edits lie so close together that a time axis would show them as a few heaps.
function isBursty(at) {
  if (at.length < 3 || at[at.length - 1] - at[0] < 600) return true;
  const gaps = at.slice(1).map((time, n) => time - at[n]).sort((a, b) => a - b);
  return gaps[gaps.length >> 1] * gaps.length < 0.25 * (at[at.length - 1] - at[0]);
}

// How many of some sorted numbers are below a bound; after: at most the bound.
function before(sorted, bound, key) {
  return position(sorted, (value) => (key ? key(value) : value) < bound);
}

function after(sorted, bound) {
  return position(sorted, (value) => value <= bound);
}

function position(sorted, isBelow) {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBelow(sorted[middle])) low = middle + 1;
    else high = middle;
  }
  return low;
}

function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, least)));
  return Math.max(1, [1, 2, 5, 10].find((factor) => factor * power >= least) * power);
}

function timeTicks(from, to, least) {
  const step = STEPS_S.find((seconds) => seconds >= least);
  if (!step) return monthTicks(from, to, STEPS_MONTHS.find((months) => months * MONTH_S >= least) || 1200);
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push([at, tickLabel(at, step)]);
  return found;
}

function monthTicks(from, to, months) {
  const found = [];
  const start = new Date(from * 1000);
  let month = Math.floor((start.getUTCFullYear() * 12 + start.getUTCMonth()) / months) * months;
  for (let at = -Infinity; at <= to; month += months) {
    at = Date.UTC(Math.floor(month / 12), month % 12) / 1000;
    if (at >= from && at <= to) found.push([at, new Date(at * 1000).toISOString().slice(0, months < 12 ? 7 : 4)]);
  }
  return found;
}

// A time as exact as the distance between two labels asks for.
function tickLabel(at, step) {
  const text = new Date(at * 1000).toISOString();
  if (step >= 2592000) return text.slice(0, 7);
  if (step >= 86400) return text.slice(0, 10);
  return step >= 60 ? text.slice(5, 16).replace("T", " ") : text.slice(11, 19);
}
