// An answer's text as paragraphs, lists, bold, code and links. Nothing in it can become markup.

import { el } from "./dom.js";

const INLINE = /\*\*(?<bold>[^*\n]+)\*\*|`(?<code>[^`\n]+)`|\[(?<label>[^\]\n]+)\]\((?<to>[^()\s]+)\)|(?<bare>https?:\/\/[^\s<>"')\]]+)/g;
const BULLET = /^\s*[-*•]\s+(.*)$/;
const NUMBER = /^\s*(\d{1,4})[.)]\s+(.*)$/;

/** The nodes that show `text`. */
export function shownText(text) {
  const nodes = [];
  let list = null;
  let lines = [];
  const close = () => {
    if (lines.length) nodes.push(el("p", {}, ...lines.flatMap((line, at) => (at ? [el("br"), ...inline(line)] : inline(line)))));
    lines = [];
    list = null;
  };
  for (const line of text.split(/\r?\n/)) {
    const bullet = BULLET.exec(line);
    const number = NUMBER.exec(line);
    const kind = bullet ? "ul" : number ? "ol" : null;
    if (kind) {
      if (list?.localName !== kind) {
        close();
        list = el(kind, number ? { start: number[1] } : {});
        nodes.push(list);
      }
      list.append(el("li", {}, ...inline(bullet ? bullet[1] : number[2])));
    } else if (line.trim() === "") {
      close();
    } else {
      if (list) close();
      lines.push(line);
    }
  }
  close();
  return nodes;
}

function inline(line) {
  const nodes = [];
  let from = 0;
  for (const found of line.matchAll(INLINE)) {
    nodes.push(line.slice(from, found.index));
    nodes.push(styled(found));
    from = found.index + found[0].length;
  }
  nodes.push(line.slice(from));
  return nodes.filter((node) => node !== "");
}

function styled(found) {
  const { bold, code, label, to, bare } = found.groups;
  if (bold) return el("strong", {}, bold);
  if (code) return el("code", {}, code);
  return link(to ?? bare, label ?? bare) ?? found[0];
}

/** A link that leads to a page or a mailbox and nowhere else, and tells it nothing of this one. */
function link(to, label) {
  try {
    const { protocol, href } = new URL(to);
    if (!["https:", "http:", "mailto:"].includes(protocol)) return null;
    return el("a", { href, rel: "noopener noreferrer nofollow", target: "_blank" }, label);
  } catch {
    return null;
  }
}
