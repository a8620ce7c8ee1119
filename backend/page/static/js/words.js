// What went wrong, said to a person.

const SECONDS = 60;

/** "in 12 seconds", "in 3 minutes". */
export function inWords(seconds) {
  const units = seconds < SECONDS * 2 ? [seconds, "second"] : seconds < 7200 ? [Math.round(seconds / SECONDS), "minute"] : [Math.round(seconds / 3600), "hour"];
  return new Intl.RelativeTimeFormat("en").format(...units);
}

/** US dollars, also of less than a cent. */
export const moneyText = (dollars) => new Intl.NumberFormat(undefined, { style: "currency", currency: "USD", maximumSignificantDigits: dollars < 0.01 ? 2 : undefined }).format(dollars);

/** The sentence for a problem, and whether trying again may help. */
export function explain(problem) {
  const { code, status, message, details, retryAfter } = problem;
  const done = details?.tool_calls?.length > 0;
  if (code === "RATE_LIMIT_EXCEEDED") return { text: retryAfter ? `${message} You can send again ${inWords(retryAfter)}.` : message, retry: false };
  if (details?.reason === "timeout") return { text: done ? message : "This took longer than the limit allows, so I stopped. Nothing is lost: try again.", retry: true };
  if (status === 0) return { text: message, retry: false };
  if (code === "TASK_CHANGED") {
    const names = (details?.tasks ?? []).map((task) => task.title).join(", ");
    return { text: names ? `${message} (${names})` : message, retry: false };
  }
  return { text: message, retry: details?.retryable !== false && (status === 200 || status >= 500) };
}
