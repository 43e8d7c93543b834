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

// Figures that no longer refresh must not look as if they did.
function showWhether(isCurrent) {
  document.getElementById("stale").hidden = isCurrent;
}

document.addEventListener("htmx:afterRequest", (event) => showWhether(event.detail.successful));
