// Streams answers into the playground. Whatever comes is put in as text, never as HTML.
"use strict";

const form = document.getElementById("ask");
const field = (id) => document.getElementById(id);
const sides = [0, 1].map((n) => ({
  n, model: field(`model-${n}`), card: field(`answer-${n}`), turns: [], abort: null,
}));

function add(parent, tag, text, css) {
  const element = document.createElement(tag);
  element.textContent = text;
  if (css) element.className = css;
  parent.append(element);
  return element;
}

function show(side) {
  side.card.querySelector("h2").textContent = side.model.value || "–";
  if (side.n) side.card.hidden = !side.model.value;
}

async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((l) => l.startsWith("data:")).map((l) => l.slice(5).trim()).join("");
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

function cite(talk, annotations) {
  if (!annotations || !annotations.length) return;
  const list = add(talk, "ol", "", "citations");
  for (const each of annotations) {
    const about = each.url_citation || each.file_citation || each;
    const item = add(list, "li", about.title || about.filename || about.url || "document");
    const quote = about.quote || about.text;
    if (quote) add(item, "q", quote);
  }
}

async function answer(side, question, system) {
  const talk = side.card.querySelector(".talk");
  const times = side.card.querySelector(".times");
  if (!side.turns.length) talk.replaceChildren();
  side.turns.push({ role: "user", content: question });
  add(talk, "p", question, "turn user");
  const said = add(talk, "pre", "", "turn answer said");
  times.textContent = "waiting …";
  side.abort = new AbortController();
  const began = performance.now();
  let first = null, text = "", id = null, usage = null, annotations = [], release = "", finished = "";
  try {
    const reply = await fetch(form.dataset.to, {
      method: "POST",
      signal: side.abort.signal,
      headers: { "content-type": "application/json", [form.dataset.header]: form.dataset.token },
      body: JSON.stringify({
        model: side.model.value,
        messages: [...(system ? [{ role: "system", content: system }] : []), ...side.turns],
        temperature: Number(field("temperature").value),
        max_tokens: Number(field("max-tokens").value),
        documents: field("documents").value,
      }),
    });
    release = reply.headers.get("x-driftgate-release") || "";
    if (!reply.ok) {
      const kind = reply.headers.get("content-type") || "";
      const why = kind.includes("json") ? (await reply.json()).error.message : `It failed with status ${reply.status}. Load the page again.`;
      throw new Error(why);
    }
    for await (const chunk of frames(reply.body)) {
      if (chunk.error) throw new Error(chunk.error.message);
      id = chunk.id || id;
      usage = chunk.usage || usage;
      for (const choice of chunk.choices || []) {
        const delta = choice.delta || {};
        finished = choice.finish_reason || finished;
        if (delta.annotations) annotations = delta.annotations;
        if (!delta.content) continue;
        first = first ?? performance.now();
        text += delta.content;
        said.textContent = text;
      }
    }
    side.turns.push({ role: "assistant", content: text });
  } catch (error) {
    side.turns.push({ role: "assistant", content: text || "…" });
    add(talk, "p", error.name === "AbortError" ? "Stopped." : error.message, "told no");
  }
  cite(talk, annotations);
  const took = (performance.now() - began) / 1000;
  const parts = [release, first && `first token ${Math.round(first - began)} ms`, `${took.toFixed(2)} s`];
  if (usage) parts.push(`${usage.prompt_tokens} + ${usage.completion_tokens} tokens`);
  if (finished && finished !== "stop") parts.push(`ended by ${finished}`);
  times.textContent = parts.filter(Boolean).join(" · ") + " ";
  if (id) {
    const link = add(times, "a", "request");
    link.href = form.dataset.traffic + encodeURIComponent(id);
  }
}

if (form) {
  for (const side of sides) side.model.addEventListener("change", () => show(side));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const question = field("question").value.trim();
    if (!question) return;
    field("send").disabled = true;
    field("stop").disabled = false;
    field("question").value = "";
    sides.forEach(show);
    const asked = sides.filter((side) => side.model.value);
    await Promise.all(asked.map((side) => answer(side, question, field("system").value.trim())));
    field("send").disabled = false;
    field("stop").disabled = true;
    field("question").focus();
  });
  field("question").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  field("stop").addEventListener("click", () => sides.forEach((side) => side.abort?.abort()));
  field("clear").addEventListener("click", () => {
    for (const side of sides) {
      side.abort?.abort();
      side.turns = [];
      side.card.querySelector(".talk").replaceChildren();
      side.card.querySelector(".times").textContent = "";
    }
    field("question").focus();
  });
}
