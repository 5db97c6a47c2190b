// The history that the page was given, and the questions that are asked of it: who held what, which snapshots match.
"use strict";

const NONE = -1;

class Lineage {
  constructor(raw) {
    Object.assign(this, raw.snapshots);
    this.raw = raw;
    this.model = raw.model;
    this.head = raw.head;
    this.texts = raw.texts;
    this.size = this.id.length;
    this.changes = raw.changes;
    this.moves = raw.moves.map(([alias, source, target, actor, reason, at], number) => ({
      number, alias: this.texts[alias], source, target, actor: this.text(actor), reason: this.text(reason), at,
    }));
    this.byEdit = new Map(this.edit.map((number, i) => [number, i]));
    this.ofChange = this.snapshotsOfChanges();
    this.regions = this.changesByRegion();
    this.onMain = this.mainLine();
    this.aliasNames = this.namesOfAliases();
    this.aliasesAt = new Map();
    for (const [name, i] of Object.entries(raw.aliases)) this.listAt(this.aliasesAt, i).push(name);
    this.movesTo = new Map();
    for (const move of this.moves) if (move.target !== NONE) this.listAt(this.movesTo, move.target).push(move);
    this.haystacks = null;
    this.kinds = this.kind.map((number) => this.text(number));
  }

  text(number) {
    return number === NONE ? "" : this.texts[number];
  }

  listAt(map, key) {
    if (!map.has(key)) map.set(key, []);
    return map.get(key);
  }

  snapshotsOfChanges() {
    const of = new Int32Array(this.changes.region.length);
    for (let i = 0; i < this.size; i++) of.fill(i, this.changes.start[i], this.changes.start[i + 1]);
    return of;
  }

  // Region -> its changes, oldest first; the regions by number.
  changesByRegion() {
    const found = new Map();
    this.changes.region.forEach((region, change) => this.listAt(found, region).push(change));
    return new Map([...found].sort((a, b) => a[0] - b[0]));
  }

  mainLine() {
    const main = new Uint8Array(this.size);
    for (let i = this.head; i !== NONE; i = this.parent[i]) main[i] = 1;
    return main;
  }

  // production first, where there is one; the others by name. An alias that was taken away keeps its lane.
  namesOfAliases() {
    const names = new Set([...Object.keys(this.raw.aliases), ...this.moves.map((move) => move.alias)]);
    return [...names].sort((a, b) => (b === "production") - (a === "production") || (a < b ? -1 : 1));
  }

  changesOf(i) {
    const [from, to] = [this.changes.start[i], this.changes.start[i + 1]];
    return Array.from({ length: to - from }, (_, n) => from + n);
  }

  // "added", "changed" or "gone", against the parent. A region that came and went in between counts as gone.
  difference(change) {
    if (!this.changes.version[change]) return "gone";
    return this.changes.before[change] ? "changed" : "added";
  }

  action(change) {
    return this.text(this.changes.action[change]);
  }

  kindOf(i) {
    return this.kinds[i];
  }

  // Where a move of an alias led, in words.
  goal(move) {
    return move.target === NONE ? "deleted" : `edit ${this.edit[move.target]}`;
  }

  // How a move looks: a promotion, a way back in history, or the alias's end.
  manner(move) {
    if (move.target === NONE) return "retire";
    return move.source !== NONE && move.target < move.source ? "rollback" : "move";
  }

  undoneBy(i) {
    return this.raw.undone_by[i];
  }

  undoes(i) {
    return this.raw.undoes[i] || [];
  }

  // Region -> the change that gave it the version that snapshot i holds.
  held(i) {
    const found = new Map();
    for (let at = i; at !== NONE; at = this.parent[at]) {
      for (const change of this.changesOf(at).reverse()) {
        const region = this.changes.region[change];
        if (!found.has(region)) found.set(region, change);
      }
    }
    return new Map([...found].filter(([, change]) => this.changes.version[change]).sort((a, b) => a[0] - b[0]));
  }

  // Where a region lives on the main line: pairs of first and last snapshot; the last is NONE while the head holds it.
  lives(region) {
    const spans = [];
    for (const change of this.regions.get(region)) {
      const i = this.ofChange[change];
      const open = spans.length && spans[spans.length - 1][1] === NONE;
      if (!this.onMain[i]) continue;
      if (this.changes.version[change] && !open) spans.push([i, NONE]);
      if (!this.changes.version[change] && open) spans[spans.length - 1][1] = i;
    }
    return spans;
  }

  tagsOf(i) {
    return (this.raw.tags[i] || []).map(([tag, actor, at, reason]) => ({
      tag: this.text(tag), actor: this.text(actor), at, reason: this.text(reason),
    }));
  }

  notesOf(i) {
    return (this.raw.notes[i] || []).map(([actor, at, reason]) => ({ actor: this.text(actor), at, text: this.text(reason) }));
  }

  // What a word is looked up in; the id aside, which only its beginning matches.
  haystack(i) {
    const words = [`edit ${this.edit[i]}`, this.kindOf(i), this.text(this.actor[i]), this.text(this.reason[i]), day(this.at[i])];
    for (const name of this.aliasesAt.get(i) || []) words.push(name);
    for (const move of this.movesTo.get(i) || []) words.push(move.alias, move.actor, move.reason);
    for (const tag of this.tagsOf(i)) words.push(tag.tag, tag.reason);
    for (const note of this.notesOf(i)) words.push(note.actor, note.text);
    return words.join("\n").toLowerCase();
  }

  // What every search reads, once.
  prepare() {
    this.haystacks = this.haystacks || this.id.map((_, i) => this.haystack(i));
  }

  // Positions of the snapshots that match every term of a query, oldest first.
  search(query) {
    const tests = terms(query).map((term) => this.test(term));
    if (!tests.length) return [];
    this.prepare();
    const found = [];
    for (let i = 0; i < this.size; i++) if (tests.every((matches) => matches(i))) found.push(i);
    return found;
  }

  test({ field, word }) {
    if (field === "region") {
      const touched = new Set((this.regions.get(Number(word)) || []).map((change) => this.ofChange[change]));
      return (i) => touched.has(i);
    }
    if (field === "edit") return (i) => this.edit[i] === Number(word);
    if (field === "by") return (i) => this.text(this.actor[i]).toLowerCase().includes(word);
    if (field === "kind") return (i) => this.kindOf(i) === word;
    if (field === "tag") return (i) => this.tagsOf(i).some((tag) => tag.tag.toLowerCase().includes(word));
    if (field === "alias") return (i) => (this.movesTo.get(i) || []).some((move) => move.alias.toLowerCase().includes(word));
    return (i) => this.id[i].startsWith(word) || this.haystacks[i].includes(word);
  }
}

const FIELDS = ["region", "edit", "by", "kind", "tag", "alias"];

// The terms of a query: words, "several words", and field:word. "region 3" and "edit 3" mean the field too.
function terms(query) {
  const joined = query.toLowerCase().replace(/\b(region|edit)\s+(\d+)\b/g, "$1:$2");
  return [...joined.matchAll(/(?:(\w+):)?(?:"([^"]+)"|([^\s"]+))/g)].map(([whole, field, quoted, bare]) => {
    const word = quoted || bare;
    if (!FIELDS.includes(field)) return { field: "", word: field ? whole.replaceAll('"', "") : word };
    return { field, word };
  });
}

function utc(seconds) {
  return `${new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

function day(seconds) {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}

function many(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}
