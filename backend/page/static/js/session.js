// Who is signed in: by a token that the address brought, one that was pasted, or a cookie of this origin.

const KEY = "todo.token";

let token = null;

/** What `pattern` finds in the fragment of the address; null where nothing is, or nothing that can be read. */
export function inAddress(pattern) {
  try {
    return decodeURIComponent(pattern.exec(location.hash)[1]);
  } catch {
    return null;
  }
}

/** Take the token out of the address, so that it stands in no history and no bookmark. */
export function takeTokenFromAddress() {
  const found = inAddress(/(?:^#|&)token=([^&]+)/);
  if (found) {
    localStorage.setItem(KEY, found);
    history.replaceState(null, "", location.pathname + location.search);
  }
  token = localStorage.getItem(KEY);
}

export function signIn(given) {
  token = given.trim();
  localStorage.setItem(KEY, token);
}

export function signOut() {
  token = null;
  localStorage.removeItem(KEY);
}

export const hasToken = () => token !== null;

/** Headers of a call; without a token the browser's cookie has to do. */
export const credentials = () => (token === null ? {} : { Authorization: `Bearer ${token}` });
