// What the reader chose, kept in the address: it outlives a reload, and a link that is copied shows the same.
//
//   ?kind=stacked&span=60000&off=2&off=3
//
// `kind` is the kind of chart, `span` the time that it shows in ms, `off` the key of a series taken out of it.

export class Choices {
  #params = new URLSearchParams(location.search);

  /** The kind of chart; null: the one that the server names. */
  get kind() {
    return this.#params.get("kind");
  }

  set kind(kind) {
    this.#params.set("kind", kind);
    this.#write();
  }

  /** The time to show, in ms; null: what the server says. */
  get span() {
    const ms = Number(this.#params.get("span"));
    return ms > 0 ? ms : null;
  }

  set span(ms) {
    this.#params.set("span", String(ms));
    this.#write();
  }

  /** The indices of the series that are taken out of the chart. Keys that are not there yet stay chosen. */
  off(series) {
    const keys = new Set(this.#params.getAll("off"));
    return new Set(series.flatMap(({ key }, i) => (keys.has(key) ? [i] : [])));
  }

  /** Takes the series of a key out of the chart, or puts it back. */
  toggle(key) {
    const keys = new Set(this.#params.getAll("off"));
    if (!keys.delete(key)) keys.add(key);
    this.#params.delete("off");
    for (const off of keys) this.#params.append("off", off);
    this.#write();
  }

  #write() {
    const search = this.#params.toString();
    window.history.replaceState(null, "", location.pathname + (search && `?${search}`) + location.hash);
  }
}
