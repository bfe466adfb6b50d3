"use strict";
(() => {
  const { index: known, choices } = JSON.parse(document.getElementById("choices").textContent);
  const byId = (id) => document.getElementById(id);
  const selects = { pi: byId("pi"), bits: byId("bits"), system: byId("system"), python: byId("python") };

  // If the site's address is unknown, the commands get the page's own address.
  const isServed = /^https?:$/.test(location.protocol);
  const addressOf = (path) => new URL(path, location.href).href;
  const quoted = (text) => (/^[\w@%+=:,./~-]+$/.test(text) ? text : `'${text.replace(/'/g, "'\\''")}'`);

  function indexOptions() {
    if (known) return known;
    if (!isServed) return "--index-url https://…/current/simple/";
    const trusts = location.protocol === "http:" && !["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
    return `--index-url ${quoted(addressOf("simple/"))}` + (trusts ? ` --trusted-host ${quoted(location.host)}` : "");
  }

  const options = indexOptions();
  if (!known && isServed) {
    for (const place of document.querySelectorAll("[data-index]")) place.textContent = options;
    for (const place of document.querySelectorAll("[data-at]")) place.textContent = quoted(addressOf(place.dataset.at));
    byId("placeholder")?.remove();
  }

  function make(tag, text, className) {
    const element = document.createElement(tag);
    if (text) element.textContent = text;
    if (className) element.className = className;
    return element;
  }

  async function copy(code, button) {
    let copied = true;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // Not every address and browser may use the clipboard; a selection works everywhere.
      getSelection().selectAllChildren(code);
      try {
        copied = document.execCommand("copy");
      } catch {
        copied = false;
      }
    }
    button.textContent = copied ? "Copied" : "Selected";
    byId("copied").textContent = copied ? "Copied to the clipboard." : "The command is selected: copy it with Ctrl+C.";
    clearTimeout(button.timer);
    button.timer = setTimeout(() => { button.textContent = "Copy"; }, 3000);
  }

  function addCopyButton(block) {
    const code = block.querySelector("code");
    const button = make("button", "Copy", "copy");
    button.type = "button";
    button.setAttribute("aria-label", `Copy: ${code.textContent}`);
    button.addEventListener("click", () => copy(code, button));
    block.append(button);
  }

  function commandBlock(text) {
    const block = make("pre", "", "command");
    block.append(make("code", text));
    addCopyButton(block);
    return block;
  }

  // Each select has the values that fit the selects before it, and keeps its value if that is still among them.
  const names = Object.keys(selects);
  const matches = (choice, until) => names.slice(0, until).every((name) => choice[name] === selects[name].value);

  function fill(number) {
    const select = selects[names[number]];
    const wanted = select.value;
    const left = choices.filter((choice) => matches(choice, number));
    const values = [...new Set(left.map((choice) => choice[names[number]]))];
    const has = (value) => left.some((choice) => choice[names[number]] === value && choice.offers.length);
    select.replaceChildren(...values.map((value) => new Option(value + (has(value) ? "" : " (no wheel)"), value)));
    const best = [...values].reverse().find(has) ?? values[values.length - 1];
    select.value = values.includes(wanted) ? wanted : number === 0 ? values.find(has) ?? values[0] : best;
  }

  function answer() {
    const choice = choices.find((candidate) => matches(candidate, names.length));
    const where = `${choice.pi} with ${choice.system} (${choice.bits}), Python ${choice.python}`;
    const parts = [];
    if (choice.offers.length) {
      for (const [why, command] of choice.before) parts.push(make("p", why), commandBlock(command));
      if (choice.before.length) parts.push(make("p", "Then install:"));
      for (const offer of choice.offers) {
        if (choice.offers.length > 1 || offer.note) parts.push(make("p", offer.name + (offer.note ? ` (${offer.note})` : "")));
        parts.push(commandBlock(offer.command.replace("{index}", () => options)));
      }
    } else {
      parts.push(make("p", choice.reason, "why"));
    }
    byId("result").textContent = `${choice.offers.map((offer) => offer.name).join(", ") || "No wheel"} for ${where}`;
    byId("answer").replaceChildren(...parts);
  }

  function ask(from) {
    for (let number = from; number < names.length; number += 1) fill(number);
    answer();
  }

  names.forEach((name, number) => selects[name].addEventListener("change", () => ask(number + 1)));
  byId("ask").addEventListener("submit", (event) => event.preventDefault());
  if (choices.length) {
    document.querySelectorAll("pre.command").forEach(addCopyButton);
    byId("ask").hidden = false;
    byId("all").open = false;
    ask(0);
  }

  const hours = (Date.now() - Date.parse(document.querySelector(".facts time").dateTime)) / 3.6e6;
  if (hours >= 0) {
    const age = hours < 48 ? [Math.round(hours), "hour"] : [Math.round(hours / 24), "day"];
    byId("age").textContent = ` (${age[0]} ${age[1]}${age[0] === 1 ? "" : "s"} ago)`;
  }
})();
