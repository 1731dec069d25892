// The access token comes in the link's fragment (`#token=...`), which no browser sends to a server. It is
// moved to the tab's session storage, so that it does not stay in the address bar or in a shared screenshot.

const NAME = "pipectl-token";

/** Takes a token out of the address bar, if there is one, and returns the one to use (or undefined). */
export function takeToken() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const given = fragment.get("token");
  if (given !== null) {
    remember(given);
    fragment.delete("token");
    const rest = fragment.toString();
    window.history.replaceState(null, "", location.pathname + location.search + (rest && `#${rest}`));
    return given || undefined;
  }
  try {
    return sessionStorage.getItem(NAME) ?? undefined;
  } catch {
    return undefined;
  }
}

function remember(token) {
  try {
    sessionStorage.setItem(NAME, token);
  } catch {
    // Storage may be forbidden. The token then lives as long as the page does.
  }
}
