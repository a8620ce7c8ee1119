// The address under which a person's own calendar reads what is due: made, copied and revoked.

import { get, post, remove } from "./api.js";
import { momentText } from "./dates.js";
import { announce, el } from "./dom.js";
import { explain } from "./words.js";

/** A section of a dialog, filled once it is known whether there is an address. */
export function calendarSection() {
  const box = el("div", { class: "calendar" });
  const fault = el("p", { class: "fault", role: "alert" });
  const attempt = (does) => async () => {
    fault.textContent = "";
    try {
      await does();
    } catch (error) {
      fault.textContent = explain(error).text;
    }
  };
  const button = (label, does) => el("button", { type: "button", onclick: attempt(does) }, label);
  const says = (text) => el("p", { class: "muted" }, text);

  function show(madeAt, address = null) {
    const make = async () => {
      const made = await post("/api/calendar");
      show(made.created_at, new URL(made.path, location.href).href);
      box.querySelector("input").select();
    };
    const revoke = async () => {
      await remove("/api/calendar");
      show(null);
      announce("The address is revoked.");
    };
    if (address) box.replaceChildren(says("Subscribe to this address in your calendar. It is shown this once, and who has it can read what is due."), shown(address));
    else if (madeAt) box.replaceChildren(says(`Its address was made ${momentText(madeAt)}. A new one makes the old one good no more.`));
    else box.replaceChildren(says("Your own calendar can show what is due, and remind you."));
    box.append(el("div", { class: "line" }, button(madeAt ? "New address" : "Make an address", make), madeAt && button("Revoke", revoke)));
  }

  attempt(async () => show((await get("/api/calendar")).created_at))();
  return el("div", {}, box, fault);
}

function shown(address) {
  const field = el("input", { value: address, readonly: true, "aria-label": "Address of the calendar" });
  const copy = el("button", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    field.select();
    // no clipboard where the page does not come over TLS: then it is selected, to be copied by hand
    await navigator.clipboard?.writeText(address).then(() => { copy.textContent = "Copied"; }, () => {});
  });
  return el("div", { class: "line" }, field, copy);
}
