// What the server sends, kept for the last ten minutes; and whether it still sends.

const MOST = 600;
/** Seconds without an event after which the numbers on the page are old. */
const PATIENCE = 4;

export class Feed {
  /** @param {{frame: (frame: object) => void, state: (state: string, seconds: number) => void}} heard */
  constructor(heard) {
    this.heard = heard;
    this.moments = [];
    this.frame = null;
    this.last = performance.now();
    this.state = "waiting";
    const source = new EventSource("events");
    // After a break the server begins with its history again.
    source.addEventListener("history", (event) => this.remember(JSON.parse(event.data)));
    source.addEventListener("report", (event) => this.receive(JSON.parse(event.data)));
    source.addEventListener("error", () => this.tell());
    setInterval(() => this.tell(), 1000);
  }

  remember(moments) {
    const known = this.moments.length ? this.moments[this.moments.length - 1].at : 0;
    this.moments.push(...moments.filter((moment) => moment.at > known));
    this.moments.splice(0, this.moments.length - MOST);
  }

  receive(frame) {
    if (frame.at === 0) return;
    this.last = performance.now();
    this.frame = frame;
    // A clock that was set back: what comes later than now has not been.
    while (this.moments.length && this.moments[this.moments.length - 1].at > frame.at) this.moments.pop();
    this.remember([{ at: frame.at, caches: frame.caches.map(({ id, report }) => point(id, report)) }]);
    this.tell();
    this.heard.frame(frame);
  }

  tell() {
    const seconds = (performance.now() - this.last) / 1000;
    const state = seconds > PATIENCE ? "lost" : this.frame ? "live" : "waiting";
    if (state !== this.state || state === "lost") this.heard.state(state, Math.round(seconds));
    this.state = state;
  }
}

/** A report as the history has it. */
function point(id, { counts, freshness, control }) {
  const { hits, misses, remote_hits, loads, load_errors, stale } = counts;
  const { recent } = freshness;
  const measured = recent && [recent.rate, recent.low, recent.high];
  return { id, hits, misses, remote_hits, loads, load_errors, stale, measured, control };
}
