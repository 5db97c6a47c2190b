// What the reader does, by pointer, wheel or key, and what the page does then.
"use strict";
{
  const byId = (id) => document.getElementById(id);
  const lineage = new Lineage(JSON.parse(byId("data").textContent));
  const [canvas, overview, tip, live, query] = ["chart", "overview", "tip", "live", "query"].map(byId);
  const panel = new Panel(lineage, byId("panel"), (target) => follow(target));
  let chart = null;
  let pending = false;

  const KEYS = [
    ["← →", "the snapshot before or after, along the lane"], ["↑ ↓", "the lane above or below"], ["Enter", "open the details"],
    ["Esc", "close them, end the search"], ["Home End", "the first, the last"], ["+ −", "zoom in, out; also the wheel"],
    ["0", "the whole history"], ["/", "search"], ["n p", "the next match, the one before"], ["h", "the head"], ["u", "the parent"],
    ["t", "distances by time, or every edit equally wide"], ["?", "these keys"],
  ];
  const SHAPES = [
    ["setup", "setup: the first snapshot, or a region as it began"], ["edit", "edit; of a region: its adapter was updated"],
    ["expand", "the region was widened"], ["add", "the region is new"], ["rollback", "rollback; of an alias: it went back"],
    ["compose", "cherry-pick beside the main line; of a region: replaced"], ["import", "import"], ["merge", "merge"], ["split", "split"],
    ["retire", "the region is gone"], ["move", "promotion: an alias was moved here"],
  ];

  // Drawing and showing

  function redraw() {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      chart.draw();
    });
  }

  // Drawn at once: a canvas that gets another size is empty.
  function resized() {
    if (canvas.clientWidth === chart.width && canvas.clientHeight === chart.height) return;
    chart.resize();
    chart.draw();
  }

  function repaint() {
    chart.colours = palette();
    redraw();
  }

  function select(target, options) {
    chart.selected = target;
    if (target && target.lane !== undefined) chart.lane = target.lane;
    const { close, still } = options || {};
    const i = chart.selectedSnapshot();
    if (i !== NONE && !still) chart.reveal(i, close);
    show();
    announce();
    remember(target);
    redraw();
  }

  function show() {
    const target = chart.selected;
    panel.words = wordsOf(query.value);
    if (!target) return query.value.trim() ? panel.showMatches(chart.matches, panel.words) : panel.showAll();
    if (target.type === "snapshot") return panel.showSnapshot(target.i);
    if (target.type === "move") return panel.showMove(target.m);
    return target.type === "region" ? panel.showRegion(target.region) : panel.showAlias(target.name);
  }

  function wordsOf(text) {
    return terms(text).filter((term) => !["region", "edit", "kind"].includes(term.field)).map((term) => term.word);
  }

  // For a screen reader, which does not see the canvas.
  function announce() {
    const target = chart.selected;
    if (!target) live.textContent = "";
    else if (target.type === "snapshot") live.textContent = sentence(target.i);
    else if (target.type === "move") {
      const move = lineage.moves[target.m];
      live.textContent = `${move.alias}: ${lineage.goal(move)}, ${utc(move.at)}, by ${move.actor}. ${move.reason}`;
    } else live.textContent = target.type === "region" ? `region ${target.region}` : `alias ${target.name}`;
  }

  function sentence(i) {
    const undone = lineage.undoneBy(i);
    return `edit ${lineage.edit[i]}, ${named(lineage.kindOf(i))}, ${utc(lineage.at[i])}, by ${lineage.text(lineage.actor[i])}`
      + `${undone === undefined ? "" : `, taken back by edit ${undone}`}. ${lineage.text(lineage.reason[i])}`;
  }

  // The address names the edit that is shown, so that a copy of it opens there; an embedded page may not change it.
  function remember(target) {
    const i = target && target.type === "snapshot" ? target.i : NONE;
    try {
      window.history.replaceState(null, "", i === NONE ? location.href.split("#")[0] : `#edit:${lineage.edit[i]}`);
    } catch {
      // Only the address stays behind.
    }
  }

  function follow(target) {
    if (target.type === "search") {
      query.value = target.query;
      search();
      return;
    }
    if (target.type === "region") target.lane = chart.lanes.findIndex((lane) => lane.region === target.region);
    if (target.type === "alias") target.lane = chart.lanes.findIndex((lane) => lane.name === target.name);
    select(target);
    chart.revealLane();
  }

  // Search

  function search() {
    const text = query.value.trim();
    const found = text ? lineage.search(text) : null;
    chart.setMatches(found);
    chart.matches = found || [];
    byId("count").textContent = text ? `${chart.matches.length.toLocaleString("en")} of ${lineage.size.toLocaleString("en")}` : "";
    for (const id of ["next", "previous"]) byId(id).disabled = !chart.matches.length;
    chart.selected = null;
    show();
    redraw();
  }

  // The next match after what is selected, or before it; past the end it begins anew.
  function step(direction) {
    const found = chart.matches;
    if (!found.length) return;
    const i = chart.selectedSnapshot();
    const next = direction > 0 ? after(found, i) : before(found, i === NONE ? Infinity : i) - 1;
    select({ type: "snapshot", i: found[(next + found.length) % found.length] }, { close: true });
  }

  // Keys

  function along(direction) {
    const lane = chart.lanes[chart.lane];
    if (lane.type === "alias") return alongAlias(lane.name, direction);
    const list = lane.type === "region" ? lineage.regions.get(lane.region).map((change) => lineage.ofChange[change]) : null;
    const i = chart.selectedSnapshot();
    const start = i === NONE ? (direction > 0 ? NONE : lineage.size) : i;
    const next = list ? inList(list, start, direction) : start + direction;
    if (next === NONE || next >= lineage.size || next === undefined) return undefined;
    return select({ type: "snapshot", i: next, lane: chart.lane });
  }

  function inList(list, start, direction) {
    return direction > 0 ? list[after(list, start)] : list[before(list, start) - 1];
  }

  function alongAlias(name, direction) {
    const moves = chart.movesOf.get(name);
    const target = chart.selected;
    const now = target && target.type === "move" ? moves.findIndex((move) => move.number === target.m) : direction > 0 ? NONE : moves.length;
    const next = moves[Math.max(0, Math.min(now + direction, moves.length - 1))];
    if (next) select({ type: "move", m: next.number, lane: chart.lane });
  }

  function across(direction) {
    chart.lane = Math.max(0, Math.min(chart.lanes.length - 1, chart.lane + direction));
    chart.revealLane();
    const { type, name, region } = chart.lanes[chart.lane];
    live.textContent = type === "graph" ? "snapshots" : type === "alias" ? `alias ${name}` : `region ${region}`;
    redraw();
  }

  function end(last) {
    select({ type: "snapshot", i: last ? lineage.size - 1 : 0, lane: 0 });
  }

  function enter() {
    if (!chart.selected) {
      const { type, name, region } = chart.lanes[chart.lane];
      if (type === "graph") select({ type: "snapshot", i: lineage.head === NONE ? lineage.size - 1 : lineage.head });
      else select(type === "alias" ? { type, name } : { type, region });
    }
    byId("panel").focus();
  }

  function escape() {
    if (document.activeElement !== canvas && document.activeElement !== query) return canvas.focus();
    if (chart.selected) return select(null);
    query.value = "";
    search();
    return canvas.focus();
  }

  const CHART_KEYS = {
    ArrowLeft: () => along(-1), ArrowRight: () => along(1), ArrowUp: () => across(-1), ArrowDown: () => across(1),
    Home: () => end(false), End: () => end(true), Enter: enter,
  };
  const PAGE_KEYS = {
    "+": () => zoomed(0.6), "=": () => zoomed(0.6), "-": () => zoomed(1 / 0.6), 0: fit, t: axis, n: () => step(1), p: () => step(-1),
    h: () => lineage.head !== NONE && select({ type: "snapshot", i: lineage.head, lane: 0 }), u: parent, "?": keys,
    "/": () => query.focus(),
  };

  function parent() {
    const i = chart.selectedSnapshot();
    if (i !== NONE && lineage.parent[i] !== NONE) select({ type: "snapshot", i: lineage.parent[i], lane: 0 });
  }

  function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
    const typing = event.target === query;
    if (event.key === "Escape") {
      event.preventDefault();
      escape();
      return;
    }
    if (typing && event.key !== "Enter") return;
    const action = typing ? () => step(event.shiftKey ? -1 : 1)
      : (event.target === canvas && CHART_KEYS[event.key]) || PAGE_KEYS[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  // View

  function zoomed(factor, x) {
    const i = chart.selectedSnapshot();
    const centre = x === undefined && i !== NONE ? chart.x(chart.unit[i]) : x;
    chart.zoom(factor, centre > GUTTER && centre < chart.width ? centre : undefined);
    redraw();
  }

  function fit() {
    chart.fit();
    redraw();
  }

  function axis() {
    chart.byTime = !chart.byTime;
    chart.place();
    chart.fit();
    labelAxis();
    if (chart.selectedSnapshot() !== NONE) chart.reveal(chart.selectedSnapshot());
    redraw();
  }

  function labelAxis() {
    byId("axis").textContent = chart.byTime ? "Axis: time" : "Axis: edits";
  }

  function keys() {
    const dialog = byId("keys");
    dialog.replaceChildren(
      el("form", { method: "dialog" }, el("h2", { id: "keys-title" }, "Keys"), el("button", {}, "Close")),
      el("table", {}, KEYS.map(([key, text]) => el("tr", {}, el("td", {}, key.split(" ").flatMap((k) => [el("kbd", {}, k), " "])), el("td", {}, text)))),
      el("h2", {}, "Shapes"),
      el("table", {}, SHAPES.map(([word, text]) => el("tr", {}, el("td", {}, shape(word)), el("td", {}, text)))),
      el("p", { class: "soft" }, "A hollow mark with a stroke is an edit that a later one took back. A band in an alias's lane is a snapshot that it pointed at."),
    );
    dialog.showModal();
  }

  // Pointer

  let grip = null;

  function down(event) {
    canvas.setPointerCapture(event.pointerId);
    grip = { x: event.offsetX, y: event.offsetY, moved: false };
  }

  function moved(event) {
    if (!grip) return hover(event);
    const [dx, dy] = [event.offsetX - grip.x, event.offsetY - grip.y];
    if (!grip.moved && Math.hypot(dx, dy) < 4) return undefined;
    Object.assign(grip, { x: event.offsetX, y: event.offsetY, moved: true });
    canvas.classList.add("dragged");
    tip.hidden = true;
    chart.pan(-dx);
    chart.scrollTo(chart.scroll - dy);
    return redraw();
  }

  function up(event) {
    const clicked = grip && !grip.moved;
    grip = null;
    canvas.classList.remove("dragged");
    if (!clicked) return;
    const target = chart.at(event.offsetX, event.offsetY);
    tip.hidden = true;
    select(target, { still: true });
  }

  function hover(event) {
    const target = chart.at(event.offsetX, event.offsetY);
    canvas.classList.toggle("over", Boolean(target));
    tip.hidden = !target || target.type === "region" || target.type === "alias";
    if (tip.hidden) return;
    if (target.type === "snapshot") tip.textContent = cut(sentence(target.i));
    else {
      const move = lineage.moves[target.m];
      tip.textContent = cut(`${move.alias} → ${lineage.goal(move)}, ${utc(move.at)}, by ${move.actor}. ${move.reason}`);
    }
    const left = Math.min(event.offsetX + 14, chart.width - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.min(event.offsetY + 16, chart.height - tip.offsetHeight - 4)}px`;
  }

  function cut(text) {
    return text.length > 220 ? `${text.slice(0, 220)}…` : text;
  }

  // The wheel zooms; over the lanes that do not fit it scrolls them, and with Ctrl it zooms there too.
  function wheeled(event) {
    event.preventDefault();
    const scrolls = event.offsetY > chart.top && chart.overflows && !event.ctrlKey;
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) chart.pan(event.deltaX);
    else if (event.shiftKey) chart.pan(event.deltaY);
    else if (scrolls) chart.scrollTo(chart.scroll + event.deltaY);
    else chart.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * (event.ctrlKey ? 0.012 : 0.004)), event.offsetX);
    tip.hidden = true;
    redraw();
  }

  function overviewed(event) {
    if (event.type === "pointerdown") overview.setPointerCapture(event.pointerId);
    else if (!event.buttons) return;
    const half = (chart.to - chart.from) / 2;
    const unit = chart.overviewUnit(event.offsetX);
    chart.show(unit - half, unit + half);
    redraw();
  }

  // Beginning

  function listen() {
    document.addEventListener("keydown", pressed);
    canvas.addEventListener("pointerdown", down);
    canvas.addEventListener("pointermove", moved);
    canvas.addEventListener("pointerup", up);
    canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
    canvas.addEventListener("wheel", wheeled, { passive: false });
    overview.addEventListener("pointerdown", overviewed);
    overview.addEventListener("pointermove", overviewed);
    query.addEventListener("input", search);
    const buttons = { axis, fit, help: keys, in: () => zoomed(0.6), out: () => zoomed(1 / 0.6), next: () => step(1), previous: () => step(-1) };
    for (const [id, action] of Object.entries(buttons)) byId(id).addEventListener("click", action);
    new ResizeObserver(resized).observe(canvas);
    new MutationObserver(repaint).observe(document.documentElement, { attributeFilter: ["data-scheme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  }

  // What the address names, else what the page was made for.
  function open() {
    const [, number] = location.hash.match(/^#edit:(\d+)$/) || [];
    const i = number === undefined ? lineage.raw.opened : lineage.byEdit.get(Number(number));
    if (i !== undefined && i !== NONE) select({ type: "snapshot", i }, { close: true });
    else show();
  }

  if (lineage.size) {
    chart = new Chart(lineage, canvas, overview);
    chart.resize();
    labelAxis();
    listen();
    open();
    chart.draw();
    // After the first picture, so that the first search is as fast as the others.
    (window.requestIdleCallback || setTimeout)(() => lineage.prepare());
  } else {
    byId("panel").append(el("p", {}, "This model has no snapshot yet."));
  }
}
