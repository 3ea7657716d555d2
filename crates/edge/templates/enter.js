"use strict";
// Presses the button for people who look at the page, and for nobody who merely fetches it.
(function press() {
  if (document.prerendering) return document.addEventListener("prerenderingchange", press, { once: true });
  if (document.visibilityState !== "visible") return document.addEventListener("visibilitychange", press, { once: true });
  document.forms[0].submit();
})();
