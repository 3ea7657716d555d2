"use strict";
// Submits the form once the page is visible to a user, and never for a client that only fetches it.
(function press() {
  if (document.prerendering) return document.addEventListener("prerenderingchange", press, { once: true });
  if (document.visibilityState !== "visible") return document.addEventListener("visibilitychange", press, { once: true });
  document.forms[0].submit();
})();
