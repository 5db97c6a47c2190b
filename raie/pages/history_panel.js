// The details beside the time line: of a snapshot, a move of an alias, a lane, the matches of a search, or all of it.
"use strict";

const FIRST_ROWS = 25;
const SVG = "http://www.w3.org/2000/svg";
const MANNERS = { move: "promotion", rollback: "alias moved back", retire: "alias deleted" };
const NAMES = { compose: "cherry-pick", edit: "edit", rollback: "rollback", setup: "setup" };

// An element with children; a text is always a text, whatever it holds.
function el(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

function named(kind) {
  return NAMES[kind] || kind;
}

function shape(word) {
  const [form, colour] = look(word);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "-8 -8 16 16");
  svg.setAttribute("class", "shape");
  svg.setAttribute("aria-hidden", "true");
  const path = new SvgPath();
  outline(form, path, 0, 0, 5.6);
  const drawn = document.createElementNS(SVG, "path");
  drawn.setAttribute("d", path.text);
  drawn.setAttribute("fill-rule", "evenodd");
  drawn.setAttribute("fill", `var(--${colour})`);
  svg.append(drawn);
  return svg;
}

// The calls of a canvas that `outline` makes, as the text of an SVG path.
class SvgPath {
  text = "";
  moveTo(x, y) { this.text += `M${x} ${y}`; }
  lineTo(x, y) { this.text += `L${x} ${y}`; }
  closePath() { this.text += "Z"; }
  rect(x, y, w, h) { this.text += `M${x} ${y}h${w}v${h}h${-w}Z`; }
  arc(x, y, r) { this.text += `M${x + r} ${y}a${r} ${r} 0 1 0 ${-2 * r} 0a${r} ${r} 0 1 0 ${2 * r} 0Z`; }
}

class Panel {
  constructor(lineage, root, onSelect) {
    this.lineage = lineage;
    this.root = root;
    this.onSelect = onSelect;
    this.words = [];
  }

  fill(...children) {
    this.root.replaceChildren(...children.flat().filter(Boolean));
    this.root.scrollTop = 0;
  }

  // A text of a user, with the words of the search marked.
  said(text) {
    const words = this.words.filter(Boolean).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const parts = words.length ? text.split(new RegExp(`(${words.join("|")})`, "gi")) : [text];
    return el("span", { class: "text" }, parts.map((part, n) => (n % 2 ? el("mark", {}, part) : part)));
  }

  link(label, target) {
    return el("button", { type: "button", class: "link", onclick: () => this.onSelect(target) }, label);
  }

  edit(number) {
    const i = this.lineage.byEdit.get(number);
    return i === undefined ? `edit ${number}` : this.link(`edit ${number}`, { type: "snapshot", i });
  }

  snapshot(i) {
    return this.link(`edit ${this.lineage.edit[i]}`, { type: "snapshot", i });
  }

  joined(links) {
    return links.flatMap((link, n) => (n ? [", ", link] : [link]));
  }

  facts(pairs) {
    return el("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== "").flatMap(([name, value]) => [
      el("dt", {}, name), el("dd", {}, value),
    ]));
  }

  digest(text) {
    const copy = el("button", { type: "button", class: "copy", onclick: () => {
      navigator.clipboard?.writeText(text).then(() => { copy.textContent = "copied"; }, () => {});
    } }, "copy");
    return [el("code", { title: text }, text.slice(0, 12)), copy];
  }

  // All rows of a long list only on request.
  rows(items, row, wrap) {
    const body = wrap(items.slice(0, FIRST_ROWS).map(row));
    if (items.length <= FIRST_ROWS) return [body];
    const more = el("button", { type: "button", onclick: () => more.previousSibling.replaceWith(wrap(items.map(row))) || more.remove() },
      `Show all ${items.length.toLocaleString("en")}`);
    return [body, more];
  }

  table(headers, items, row) {
    const head = el("thead", {}, el("tr", {}, headers.map((header) => {
      const isNumber = header.startsWith("#");
      return el("th", { scope: "col", class: isNumber ? "number" : "" }, header.replace("#", ""));
    })));
    const cells = (item) => el("tr", {}, row(item).map((cell, n) => (
      el("td", { class: headers[n].startsWith("#") ? "number" : "" }, cell)
    )));
    return this.rows(items, cells, (made) => el("table", {}, head.cloneNode(true), el("tbody", {}, made)));
  }

  // One snapshot: who, when, why, what changed, what it measured, and what points at it.

  showSnapshot(i) {
    const { lineage } = this;
    const kind = lineage.kindOf(i);
    this.fill(
      el("div", { class: "kind" }, shape(kind), named(kind), ` · ${utc(lineage.at[i])}`),
      el("h2", {}, `Edit ${lineage.edit[i]}`),
      this.badges(i),
      this.why(lineage.text(lineage.reason[i])),
      this.factsOf(i),
      this.changesOf(i),
      this.metricsOf(i),
      this.movesOf(i),
      this.annotationsOf(i),
      this.heldBy(i),
      el("h3", {}, "On the command line"),
      el("code", { class: "command" }, `raie show ${lineage.id[i].slice(0, 12)}`),
      lineage.parent[i] === NONE ? null : el("code", { class: "command" }, `raie diff edit:${lineage.edit[i]}`),
    );
  }

  why(text) {
    return text ? el("p", { class: "why" }, this.said(text)) : el("p", { class: "why soft" }, "No reason was given.");
  }

  badges(i) {
    const { lineage } = this;
    const undone = lineage.undoneBy(i);
    const expired = lineage.raw.expired[i];
    const names = (lineage.aliasesAt.get(i) || []).map((name) => el("span", { class: "badge points text" }, name));
    const made = [
      i === lineage.head ? el("span", { class: "badge points" }, "head") : null, ...names,
      lineage.onMain[i] ? null : el("span", { class: "badge" }, "side branch"),
      undone === undefined ? null : el("span", { class: "badge undone" }, `taken back by edit ${undone}`),
      expired ? el("span", { class: "badge" }, `expired ${day(expired[0])}`) : null,
      ...lineage.tagsOf(i).map((tag) => el("span", { class: "badge text", title: tag.reason }, `# ${tag.tag}`)),
    ].filter(Boolean);
    return made.length ? el("div", { class: "badges" }, made) : null;
  }

  factsOf(i) {
    const { lineage } = this;
    const [parent, same, back] = [lineage.parent[i], lineage.same[i], lineage.raw.returns_to[i]];
    const undone = lineage.undoneBy(i);
    const undoes = lineage.undoes(i);
    const expired = lineage.raw.expired[i];
    const shown = undoes.slice(0, 12).map((number) => this.edit(number));
    return this.facts([
      ["Who", this.said(lineage.text(lineage.actor[i]))],
      ["Snapshot", this.digest(lineage.id[i])],
      ["Parent", parent === NONE ? "none: this is the first" : this.snapshot(parent)],
      ["Returns to", back === undefined ? null : this.snapshot(back)],
      ["Takes back", undoes.length ? [...this.joined(shown), undoes.length > 12 ? ` and ${undoes.length - 12} more` : ""] : null],
      ["Taken back by", undone === undefined ? null : this.edit(undone)],
      ["Scores as", same === i ? null : this.snapshot(same)],
      ["Data", lineage.data[i] === NONE ? null : el("code", {}, lineage.text(lineage.data[i]).slice(0, 12))],
      ["Took", lineage.seconds[i] ? duration(lineage.seconds[i]) : null],
      ["Expired", expired ? [`${utc(expired[0])}, `, this.said(`${lineage.text(expired[1])}: ${lineage.text(expired[2])}`)] : null],
      ["MLflow", this.mlflow(i)],
    ]);
  }

  mlflow(i) {
    const known = this.lineage.raw.mlflow;
    const [version, experiment, run] = (known && known.versions[i]) || [];
    if (!version) return null;
    const page = (path) => `${known.address}#${path}?workflowType=machine_learning`;
    // MLflow shows an artifact in a frame that may open no other page: there the address is a text to copy.
    const out = (label, path) => (window.top === window
      ? el("a", { href: page(path), target: "_blank", rel: "noopener noreferrer" }, label)
      : el("span", {}, `${label}: `, el("code", {}, page(path).split("?")[0])));
    return [out(`version ${version}`, `/models/${encodeURIComponent(known.model)}/versions/${version}`), " · ",
      out("run", `/experiments/${experiment}/runs/${run}`)];
  }

  changesOf(i) {
    const { lineage } = this;
    const changes = lineage.changesOf(i);
    if (!changes.length) return [el("h3", {}, "Against its parent"), el("p", { class: "soft" }, "No region changed.")];
    const count = { added: 0, changed: 0, gone: 0 };
    for (const change of changes) count[lineage.difference(change)]++;
    const summary = Object.entries(count).filter(([, n]) => n).map(([name, n]) => `${many(n, "region")} ${name}`).join(", ");
    return [
      el("h3", {}, `Against its parent: ${summary}`),
      ...this.table(["region", "version", "#windows", "#moved", "#members"], changes, (change) => this.changeRow(change)),
    ];
  }

  changeRow(change) {
    const { changes } = this.lineage;
    const region = changes.region[change];
    const [before, after] = [changes.before[change], changes.version[change]];
    return [
      [shape(this.lineage.action(change)), this.link(String(region), { type: "region", region }), ` ${this.lineage.action(change)}`],
      after ? (before ? `v${before} → v${after}` : `new, v${after}`) : `v${before} → gone`,
      changes.windows[change].toLocaleString("en"),
      changes.shift[change] ? `${((changes.shift[change] * 180) / Math.PI).toFixed(1)}°` : "–",
      changes.members[change].toLocaleString("en"),
    ];
  }

  metricsOf(i) {
    const { raw } = this.lineage;
    const rows = raw.metrics[i];
    if (!rows && i < raw.metrics_from) {
      return [el("h3", {}, "Metrics"), el("p", { class: "soft" }, "Left out to keep this page small; raie edit show has them.")];
    }
    if (!rows) return null;
    const ci = rows.some((row) => row[3] !== null);
    return [
      el("h3", {}, "Metrics"),
      ...this.table(["", "#before", "#after", ci ? "#change (95 %)" : "#change"], rows, ([name, before, after, low, high]) => [
        this.lineage.text(name), before === null ? "" : number(before), number(after), change(before, after, low, high),
      ]),
    ];
  }

  movesOf(i) {
    const moves = this.lineage.movesTo.get(i);
    if (!moves) return null;
    const item = (move) => el("li", {}, shape("move"), this.link(el("span", { class: "text" }, move.alias), { type: "move", m: move.number }),
      ` ${utc(move.at)} by `, this.said(move.actor), move.reason ? el("p", {}, this.said(move.reason)) : null);
    return [el("h3", {}, "Aliases that were moved here"), ...this.rows([...moves].reverse(), item, (made) => el("ul", {}, made))];
  }

  annotationsOf(i) {
    const notes = this.lineage.notesOf(i);
    const tags = this.lineage.tagsOf(i);
    if (!notes.length && !tags.length) return null;
    const tag = (entry) => el("li", {}, el("span", { class: "badge text" }, "# ", this.said(entry.tag)), ` ${utc(entry.at)} by `,
      this.said(entry.actor), entry.reason ? el("p", {}, this.said(entry.reason)) : null);
    const note = (entry) => el("li", {}, this.said(entry.actor), ` ${utc(entry.at)}`, el("p", {}, this.said(entry.text)));
    return [el("h3", {}, "Notes and tags"), el("ul", {}, tags.map(tag), notes.map(note))];
  }

  heldBy(i) {
    const { lineage } = this;
    const held = [...lineage.held(i)];
    const list = this.table(["region", "version", "since"], held, ([region, change]) => [
      this.link(String(region), { type: "region", region }), `v${lineage.changes.version[change]}`, this.snapshot(lineage.ofChange[change]),
    ]);
    return el("details", {}, el("summary", {}, `Holds ${many(held.length, "region")}`), list);
  }

  // One move of an alias.

  showMove(m) {
    const { lineage } = this;
    const move = lineage.moves[m];
    const { source, target } = move;
    const gone = target === NONE;
    const manner = lineage.manner(move);
    const next = lineage.moves.find((other) => other.alias === move.alias && other.number > m);
    this.fill(
      el("div", { class: "kind" }, shape(manner), MANNERS[manner], ` · ${utc(move.at)}`),
      el("h2", { class: "text" }, move.alias, ` → ${lineage.goal(move)}`),
      this.why(move.reason),
      this.facts([
        ["Who", this.said(move.actor)],
        ["From", source === NONE ? "nothing: the alias was new" : this.snapshot(source)],
        ["To", gone ? "nothing" : this.snapshot(target)],
        ["Snapshot", gone ? null : this.digest(lineage.id[target])],
        ["Until", next ? this.link(utc(next.at), { type: "move", m: next.number }) : gone ? null : "now"],
        ["Lasted", next ? duration(next.at - move.at) : null],
      ]),
      el("h3", {}, "On the command line"),
      el("code", { class: "command" }, `raie alias history ${move.alias}`),
      source === NONE || gone ? null
        : el("code", { class: "command" }, `raie diff edit:${lineage.edit[source]} edit:${lineage.edit[target]}`),
    );
  }

  // One lane.

  showRegion(region) {
    const { lineage } = this;
    const changes = [...lineage.regions.get(region)].reverse();
    const held = lineage.head === NONE ? undefined : lineage.held(lineage.head).get(region);
    this.fill(
      el("div", { class: "kind" }, "region"), el("h2", {}, `Region ${region}`),
      this.facts([
        ["In the head", held === undefined ? "no" : `version ${lineage.changes.version[held]}`],
        ["Members", held === undefined ? null : lineage.changes.members[held].toLocaleString("en")],
        ["Changed by", many(changes.length, "edit")],
      ]),
      el("h3", {}, "What was done to it, newest first"),
      ...this.table(["edit", "version", "#windows"], changes, (change) => [
        [shape(lineage.action(change)), this.snapshot(lineage.ofChange[change]), ` ${lineage.action(change)}`],
        lineage.changes.version[change] ? `v${lineage.changes.version[change]}` : "gone", lineage.changes.windows[change].toLocaleString("en"),
      ]),
      el("code", { class: "command" }, `raie regions show ${region}`),
    );
  }

  showAlias(name) {
    const { lineage } = this;
    const moves = lineage.moves.filter((move) => move.alias === name).reverse();
    const now = lineage.raw.aliases[name];
    this.fill(
      el("div", { class: "kind" }, "alias"), el("h2", { class: "text" }, name),
      this.facts([["Points at", now === undefined ? "nothing: it was taken away" : this.snapshot(now)], ["Moved", many(moves.length, "time")]]),
      el("h3", {}, "Moves, newest first"),
      ...this.table(["when", "to", "who"], moves, (move) => [
        this.link(utc(move.at), { type: "move", m: move.number }), move.target === NONE ? "deleted" : this.snapshot(move.target), this.said(move.actor),
      ]),
    );
  }

  // The matches of a search, newest first.

  showMatches(found, words) {
    this.words = words;
    const { lineage } = this;
    const item = (i) => el("li", {}, shape(lineage.kindOf(i)), this.snapshot(i), ` ${day(lineage.at[i])} `,
      this.said(lineage.text(lineage.actor[i])), el("p", { class: "soft" }, this.said(this.passage(i))));
    this.fill(
      el("h2", {}, many(found.length, "match").replace("matchs", "matches")),
      found.length ? el("p", { class: "soft" }, "Newest first. Enter in the search goes from one to the next.")
        : el("p", { class: "soft" }, "Search for the beginning of an id, an author, a word of a reason or a note, or a day such as 2026-05-01. ",
          "region:3, edit:7, by:ada, kind:rollback, tag:… and alias:… search one field."),
      ...this.rows([...found].reverse(), item, (made) => el("ul", {}, made)),
    );
  }

  // What of a snapshot a search found: its reason, or the line of its texts that holds the word.
  passage(i) {
    const reason = this.lineage.text(this.lineage.reason[i]);
    const said = [reason, ...(this.lineage.movesTo.get(i) || []).map((move) => `${move.alias}: ${move.reason}`),
      ...this.lineage.tagsOf(i).map((tag) => `# ${tag.tag} ${tag.reason}`), ...this.lineage.notesOf(i).map((note) => note.text)];
    const hit = said.find((text) => this.words.some((word) => text.toLowerCase().includes(word))) || reason;
    return hit.length > 160 ? `${hit.slice(0, 160)}…` : hit;
  }

  // The history as a whole.

  showAll() {
    const { lineage } = this;
    const kinds = new Map();
    for (let i = 0; i < lineage.size; i++) kinds.set(lineage.kindOf(i), (kinds.get(lineage.kindOf(i)) || 0) + 1);
    const held = lineage.held(lineage.head);
    this.fill(
      el("div", { class: "kind" }, "model"), el("h2", { class: "text" }, lineage.model),
      this.facts([
        ["Snapshots", lineage.size.toLocaleString("en")],
        ["From", utc(lineage.at[0])], ["To", utc(lineage.at[lineage.size - 1])],
        ["Head", lineage.head === NONE ? "none" : this.snapshot(lineage.head)],
        ["Regions", `${held.size.toLocaleString("en")} in the head, ${lineage.regions.size.toLocaleString("en")} ever`],
        ...lineage.aliasNames.filter((name) => name in lineage.raw.aliases).map((name) => [
          el("span", { class: "text" }, name), this.snapshot(lineage.raw.aliases[name]),
        ]),
      ]),
      el("h3", {}, "Edits by kind"),
      el("ul", {}, [...kinds].map(([kind, count]) => el("li", {}, shape(kind), this.kindLink(kind), ` ${count.toLocaleString("en")}`))),
      this.otherEdits(),
      el("p", { class: "soft why" }, "Click a mark, or use the arrow keys. ", el("kbd", {}, "?"), " lists all keys and shapes."),
    );
  }

  kindLink(kind) {
    return el("button", { type: "button", class: "link", onclick: () => this.onSelect({ type: "search", query: `kind:${kind}` }) }, named(kind));
  }

  otherEdits() {
    const rows = this.lineage.raw.other_edits;
    if (!rows.length) return null;
    const item = ([number, kind, state, actor, reason, at, why]) => el("li", {}, `edit ${number}, ${named(this.lineage.text(kind))}: `,
      this.lineage.text(state), ` · ${utc(at)} by `, this.said(this.lineage.text(actor)),
      el("p", { class: "soft" }, this.said([this.lineage.text(reason), this.lineage.text(why)].filter(Boolean).join(" — "))));
    return [el("h3", {}, "Edits without a snapshot"), ...this.rows([...rows].reverse(), item, (made) => el("ul", {}, made))];
  }
}

function duration(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86400).toFixed(1)} days`;
}

function number(value) {
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Math.abs(value) < 1000 ? value.toFixed(4) : value.toLocaleString("en", { maximumFractionDigits: 1 });
}

function signed(value) {
  return `${value < 0 ? "−" : "+"}${number(Math.abs(value))}`;
}

function change(before, after, low, high) {
  if (before === null) return "";
  const interval = low === null ? "" : el("div", { class: "soft small" }, `${signed(low)} to ${signed(high)}`);
  return [signed(after - before), interval];
}
