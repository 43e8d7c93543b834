// What a page does between two answers of the server. It works without this, too.

// The clocks of live calls go on counting. Each answer brings the seconds anew.
const began = new WeakMap();

function twoDigits(number) {
  return String(number).padStart(2, "0");
}

function tick() {
  for (const clock of document.querySelectorAll("[data-elapsed-seconds]")) {
    if (!began.has(clock)) began.set(clock, performance.now() - 1000 * clock.dataset.elapsedSeconds);
    const seconds = Math.floor((performance.now() - began.get(clock)) / 1000);
    const minutes = Math.floor(seconds / 60);
    clock.textContent = minutes < 60
      ? `${minutes}:${twoDigits(seconds % 60)}`
      : `${Math.floor(minutes / 60)}:${twoDigits(minutes % 60)}:${twoDigits(seconds % 60)}`;
  }
}

setInterval(tick, 250);

// Figures that no longer refresh must not look as if they did. Each part of a page is asked for at an
// address of its own: one that is answered says nothing of another.
const unanswered = new Set();

document.addEventListener("htmx:afterRequest", (event) => {
  const { pathInfo, requestConfig, successful, xhr } = event.detail;
  if (requestConfig.verb !== "get") return;
  const address = new URL(pathInfo.requestPath, location).pathname;
  // What was answered with a refusal was reached.
  if (successful || (xhr.status >= 400 && xhr.status < 500)) unanswered.delete(address);
  else unanswered.add(address);
  document.getElementById("stale").hidden = unanswered.size === 0;
});
