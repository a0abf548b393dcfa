// The files of this session: what became of each, and which one is shown. Knows nothing of the page.

const LANES = 2; // files that are asked about at once

/** Words for a person; `state` is one of these keys. */
export const STATES = {
  waiting: "waiting",
  sending: "being sent",
  reading: "being assessed",
  answered: "assessed",
  rejected: "rejected by the input check",
  failed: "no answer",
};

export class Session {
  /**
   * @param api explain(file, signal, progress) and picture(file, signal)
   * @param changed called after every change
   */
  constructor(api, changed) {
    this.api = api;
    this.changed = changed;
    this.entries = [];
    this.selected = null;
    this.busy = 0;
    this.stop = new AbortController();
  }

  /** Take files in, and show the first of them. */
  add(files) {
    const added = [...files].map((file) => ({ file, name: file.name, state: "waiting", sent: 0 }));
    if (!added.length) return;
    this.entries.push(...added);
    this.select(added[0]);
    this.#work();
  }

  select(entry) {
    this.selected = entry;
    this.changed();
  }

  /** Show the file that lies `step` places further in the list. */
  move(step) {
    const place = Math.max(0, Math.min(this.entries.length - 1, this.entries.indexOf(this.selected) + step));
    this.select(this.entries[place] ?? null);
  }

  /** Ask again about files that had no answer. */
  retry(entries) {
    for (const entry of entries) Object.assign(entry, { state: "waiting", sent: 0, problem: undefined });
    this.changed();
    this.#work();
  }

  /** Forget every file, and whatever is still on its way. */
  clear() {
    this.stop.abort();
    this.stop = new AbortController();
    this.entries = [];
    this.select(null);
  }

  #work() {
    while (this.busy < LANES) {
      const waiting = this.entries.filter((entry) => entry.state === "waiting");
      const next = waiting.includes(this.selected) ? this.selected : waiting[0];
      if (!next) return;
      this.busy += 1;
      this.#ask(next).finally(() => {
        this.busy -= 1;
        this.changed();
        this.#work();
      });
    }
  }

  async #ask(entry) {
    const { signal } = this.stop;
    const sent = (share) => {
      entry.sent = share;
      entry.state = share < 1 ? "sending" : "reading";
      this.changed();
    };
    sent(0);
    const [answer, image] = await Promise.allSettled([
      this.api.explain(entry.file, signal, sent),
      this.api.picture(entry.file, signal),
    ]);
    entry.image = image.value;
    entry.imageProblem = image.reason?.message;
    entry.at = new Date();
    if (answer.status === "fulfilled") {
      Object.assign(entry, { answer: answer.value, state: "answered" });
    } else {
      Object.assign(entry, { problem: answer.reason, state: answer.reason.rejected ? "rejected" : "failed" });
    }
  }
}
