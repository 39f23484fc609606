// Every page works without this file; it only saves typing, clicks and reloads.
"use strict";

const POLL_MS = 2000;

function prefillTimezone() {
  const select = document.querySelector("select[data-timezone]");
  if (!select || "answered" in select.dataset) return;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const option of select.options) {
    const names = [option.value, ...(option.dataset.also || "").split(" ")];
    if (zone && names.includes(zone)) option.selected = true;
  }
}

// A rough count of guesses, in words; the appliance applies its own rules.
function strengthWords(text) {
  if (!text) return "";
  const missing = 10 - text.length;
  if (missing > 0) return missing === 1 ? "1 character more." : `${missing} characters more.`;
  const distinct = new Set(text.toLowerCase()).size;
  if (distinct < 5) return "Easy to guess: too few different characters.";
  const score = text.length + distinct / 2 + (/[\s-]/.test(text) ? 3 : 0);
  if (score < 21) return "Acceptable. A longer one is better.";
  return score < 28 ? "Good." : "Strong.";
}

function showStrength() {
  for (const input of document.querySelectorAll("input[data-strength]")) {
    const words = document.getElementById(input.dataset.strength);
    input.addEventListener("input", () => { words.textContent = strengthWords(input.value); });
  }
}

function previewAddress() {
  for (const input of document.querySelectorAll("input[data-preview]")) {
    const target = document.getElementById(input.dataset.preview);
    input.addEventListener("input", () => { target.textContent = input.value.trim() || "name"; });
  }
}

function guardDoubleClicks() {
  for (const form of document.querySelectorAll("form")) {
    form.addEventListener("submit", () => {
      const button = form.querySelector("button:not([data-again])");
      if (button) setTimeout(() => { button.disabled = true; }, 0);
    });
  }
  // Coming back with the Back button restores the page as it was left.
  addEventListener("pageshow", () => {
    for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;
  });
}

async function getProgress() {
  const answer = await fetch("/progress.json", { cache: "no-store", signal: AbortSignal.timeout(8000) });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

function showRow(step) {
  const row = document.querySelector(`[data-step="${CSS.escape(step.name)}"]`);
  if (!row) return false;
  row.className = step.state;
  row.querySelector(".word").textContent = step.word;
  row.querySelector(".time").textContent = step.time;
  row.querySelector(".detail").textContent = step.detail;
  return true;
}

function watchProgress() {
  const area = document.querySelector("[data-progress]");
  if (!area || area.dataset.phase === "failed") return;
  const headline = document.getElementById("headline");
  const bar = document.getElementById("bar");
  const say = (text) => { if (headline.textContent !== text) headline.textContent = text; };
  const poll = async () => {
    const asked = performance.now();
    try {
      const progress = await getProgress();
      if (progress.next) return location.assign(progress.next);
      const known = progress.steps.map(showRow).every(Boolean);
      if (!known || progress.phase !== area.dataset.phase) return location.reload();
      bar.max = progress.steps.length || 1;
      bar.value = progress.finished;
      say(progress.headline);
    } catch {
      say("The appliance is restarting. This page goes on by itself when it is back.");
    }
    // A board that is busy setting up has better things to do than to answer this page.
    setTimeout(poll, Math.max(POLL_MS, 5 * (performance.now() - asked)));
  };
  setTimeout(poll, POLL_MS);
}

// After a reboot another process answers, and only then is there something new to see.
function waitForComeback() {
  const area = document.querySelector("[data-comeback]");
  if (!area) return;
  const poll = async () => {
    try {
      const progress = await getProgress();
      if (progress.instance !== area.dataset.comeback) return location.assign("/");
    } catch { /* still away */ }
    setTimeout(poll, POLL_MS);
  };
  setTimeout(poll, POLL_MS);
}

// A check that runs: its page is made anew once there is something to tell.
function watchCheck() {
  const area = document.querySelector("[data-check]");
  if (!area) return;
  const poll = async () => {
    try {
      const answer = await fetch(area.dataset.check, { cache: "no-store", signal: AbortSignal.timeout(8000) });
      if ((await answer.json()).state !== "running") return location.reload();
    } catch { /* away for a moment, or signed out: the page itself will tell */ }
    setTimeout(poll, POLL_MS);
  };
  setTimeout(poll, POLL_MS);
}

// An update moves its bar, and renews the page when there is another thing to say. While the appliance
// restarts nothing answers; afterwards the owner may have to sign in again, which the page will say.
function watchUpdate() {
  const area = document.querySelector("[data-update]");
  if (!area) return;
  const [headline, bar] = ["headline", "bar"].map((id) => document.getElementById(id));
  let first;
  const poll = async () => {
    try {
      const answer = await fetch(area.dataset.update, { cache: "no-store", signal: AbortSignal.timeout(8000) });
      if (!answer.ok || answer.redirected) return location.reload();
      const now = await answer.json();
      first ??= now.key;
      if (now.key !== first) return location.reload();
      if (bar && bar.hasAttribute("value")) bar.value = now.percent;
      if (now.message && headline.textContent !== now.message) headline.textContent = now.message;
    } catch { /* away for a moment */ }
    setTimeout(poll, POLL_MS);
  };
  setTimeout(poll, POLL_MS);
}

// The clipboard's own interface is for HTTPS only; selecting first serves everybody else.
function offerCopies() {
  for (const button of document.querySelectorAll("button[data-copy]")) {
    const area = document.getElementById(button.dataset.copy);
    button.hidden = false;
    button.addEventListener("click", async () => {
      area.focus();
      area.select();
      try {
        await navigator.clipboard.writeText(area.value);
      } catch {
        if (!document.execCommand("copy")) return;
      }
      button.textContent = button.dataset.done;
    });
  }
}

offerCopies();
prefillTimezone();
showStrength();
previewAddress();
guardDoubleClicks();
watchProgress();
watchCheck();
watchUpdate();
waitForComeback();
