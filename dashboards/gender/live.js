// The connection to the server's `/live` namespace: comes back by itself after every loss, asks again for
// what was missed, and tells in plain states how it stands. The wire is described in docs/socketio.md.
/* global io */

const PROTO = 1;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
const RESYNC_AGAIN_MS = 5_000;
/** A server that takes the connection but says nothing is given up after this. */
const HELLO_WITHIN_MS = 10_000;

/**
 * Connects and stays connected.
 *
 * `history` takes the messages. `on.hello(message, isNew)` and `on.point()` are called after it has taken one;
 * `on.state(state)` on every change: `{name}` with name "connecting", "connected", "refused", "outdated" or
 * "waiting" (then with `until`, the `performance.now()` of the next attempt).
 * Returns `{retry, setToken}`.
 */
export function connect(history, firstToken, on) {
  let token = firstToken;
  let greeted = false;
  let attempts = 0;
  let retryTimer = null;
  let resyncTimer = null;
  let helloTimer = null;
  let stopped = false;

  // Waiting is done here and not by the client library, so that the page can say how long it will be.
  const socket = io(`${location.origin}/live`, {
    path: new URL("socket.io/", document.baseURI).pathname,
    transports: ["websocket", "polling"],
    tryAllTransports: true,
    reconnection: false,
    timeout: HELLO_WITHIN_MS,
    autoConnect: false,
    auth: (send) => {
      send({ token, ...(history.epoch !== null && { epoch: history.epoch, since: history.lastSeq }) });
    },
  });

  socket.on("hello", (message) => {
    if (message.proto !== PROTO) {
      stop("outdated");
      return;
    }
    greeted = true;
    attempts = 0;
    clearTimeout(helloTimer);
    clearTimeout(resyncTimer);
    resyncTimer = null;
    const isNew = history.hello(message);
    on.state({ name: "connected" });
    on.hello(message, isNew);
  });

  socket.on("point", (message) => {
    if (!greeted || resyncTimer !== null) return;
    const outcome = history.point(message);
    if (outcome === "jump") resync();
    else if (outcome === "added") on.point();
  });

  socket.on("connect_error", (error) => {
    if (error.message === "unauthorized") stop("refused");
    else lost();
  });
  socket.on("disconnect", lost);

  function resync() {
    socket.emit("resync", { since: history.lastSeq });
    resyncTimer = setTimeout(resync, RESYNC_AGAIN_MS);
  }

  function lost() {
    greeted = false;
    clearTimeout(helloTimer);
    clearTimeout(resyncTimer);
    resyncTimer = null;
    if (stopped) return;
    const ceiling = Math.min(FIRST_WAIT_MS * 2 ** attempts, LONGEST_WAIT_MS);
    // Half of the wait is random: a thousand pages must not all come back in the same instant.
    const wait = ceiling * (0.5 + Math.random() / 2);
    attempts += 1;
    clearTimeout(retryTimer);
    retryTimer = setTimeout(open, wait);
    on.state({ name: "waiting", until: performance.now() + wait });
  }

  function open() {
    clearTimeout(retryTimer);
    retryTimer = null;
    stopped = false;
    on.state({ name: "connecting" });
    clearTimeout(helloTimer);
    helloTimer = setTimeout(giveUp, HELLO_WITHIN_MS);
    socket.connect();
  }

  function giveUp() {
    const told = socket.connected; // then `disconnect` below ends in `lost` by its own event
    socket.disconnect();
    if (!told) lost();
  }

  function stop(name) {
    stopped = true;
    clearTimeout(helloTimer);
    clearTimeout(retryTimer);
    retryTimer = null;
    socket.disconnect();
    on.state({ name });
  }

  /** Tries at once instead of waiting for the next attempt; nothing when there is no wait. */
  function retry() {
    if (retryTimer === null) return;
    attempts = 0;
    open();
  }

  function setToken(next) {
    token = next;
    socket.disconnect();
    open();
  }

  open();
  return { retry, setToken };
}
