// Dates in the person's own zone and language.

const DAY = 86_400_000;
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const near = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const far = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());
const daysUntil = (date) => Math.round((midnight(date) - midnight(new Date())) / DAY);
const capital = (text) => text.charAt(0).toLocaleUpperCase() + text.slice(1);

/** Whether a task is due on a day rather than at a time: the service says so, else noon tells it. */
export function isDateAlone(task) {
  if (typeof task.due_is_date === "boolean") return task.due_is_date;
  const due = new Date(task.due_date);
  return due.getHours() === 12 && due.getMinutes() === 0 && due.getSeconds() === 0;
}

/** "Today", "Tomorrow, 3:00 PM", "Friday", "3 Mar 2027". */
export function dueText(task) {
  const due = new Date(task.due_date);
  const days = daysUntil(due);
  let day = far.format(due);
  if (Math.abs(days) <= 1) day = capital(relative.format(days, "day"));
  else if (days > 1 && days < 7) day = capital(weekday.format(due));
  else if (due.getFullYear() === new Date().getFullYear()) day = near.format(due);
  return isDateAlone(task) ? day : `${day}, ${clock.format(due)}`;
}

/** "overdue", "today" or "later"; a day is over when it is over here. */
export function dueState(task) {
  const due = new Date(task.due_date);
  const days = daysUntil(due);
  const over = isDateAlone(task) ? days < 0 : due < new Date();
  if (over) return "overdue";
  return days === 0 ? "today" : "later";
}

/** A moment as one reads it beside a message or a conversation. */
export function momentText(iso) {
  const moment = new Date(iso);
  const days = daysUntil(moment);
  if (days === 0) return clock.format(moment);
  if (days === -1) return capital(relative.format(-1, "day"));
  return moment.getFullYear() === new Date().getFullYear() ? near.format(moment) : far.format(moment);
}

const two = (number) => String(number).padStart(2, "0");

/** The values of a date and a time field for an instant here. */
export function fieldValues(task) {
  if (!task?.due_date) return { date: "", time: "" };
  const due = new Date(task.due_date);
  const date = `${due.getFullYear()}-${two(due.getMonth() + 1)}-${two(due.getDate())}`;
  return { date, time: isDateAlone(task) ? "" : `${two(due.getHours())}:${two(due.getMinutes())}` };
}

/** What the service is sent for the two fields: a date alone, an instant, or nothing. */
export function dueValue(date, time) {
  if (!date) return null;
  return time ? new Date(`${date}T${time}`).toISOString() : date;
}
