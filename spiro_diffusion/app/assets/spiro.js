// Callbacks that run in the browser, without the server.
window.dash_clientside = Object.assign({}, window.dash_clientside, {
  spiro: {
    // A file goes to the server unless it is too large; taking it away goes there too.
    upload: function (contents, name, mostBytes) {
      if (!contents) return [null, ""];
      const bytes = (contents.length - contents.indexOf(",") - 1) * 0.75;
      if (bytes > mostBytes + 2) {
        const most = Math.floor(mostBytes / 2 ** 20);
        const text = name.slice(0, 60) + ": is larger than " + most + " MB; cut it to the efforts of one session";
        return [null, { namespace: "dash_html_components", type: "P", props: { children: text, className: "alert", role: "alert" } }];
      }
      return [{ contents: contents, name: name }, ""];
    },
    clear: function () {
      return null;
    },
    // Show the controls of single efforts or those of a session.
    draws: function (what) {
      return "draws-" + what;
    },
    next: function (clicks, seed) {
      return ((Number.isInteger(seed) ? seed : 0) + 1) % 1000000;
    },
  },
});

// Enter in the number field of a slider applies the value, as leaving the field does.
document.addEventListener("keydown", function (event) {
  if (event.key === "Enter" && event.target.matches(".dash-range-slider-input")) event.target.blur();
});

// Dash gives its sliders, numbers and lists no accessible names: take the labels above them, for screen readers. And it
// gives radio buttons the role of list options, which is wrong.
function nameControls() {
  for (const control of document.querySelectorAll(".control")) {
    const name = control.querySelector(".label").textContent;
    for (const part of control.querySelectorAll(".dash-radioitems, [role=slider], input:not([type=radio]), .dash-dropdown")) {
      set(part, "aria-label", name);
    }
  }
  for (const group of document.querySelectorAll(".dash-radioitems")) set(group, "role", "radiogroup");
  for (const group of document.querySelectorAll(".dash-checklist")) {
    const legend = group.closest("fieldset")?.querySelector("legend") ?? group;
    set(group, "role", "group");
    set(group, "aria-label", legend.textContent);
  }
  for (const option of document.querySelectorAll(".dash-radioitems label, .dash-checklist label")) {
    for (const attribute of ["role", "aria-selected"]) option.removeAttribute(attribute);
  }
  for (const hidden of document.querySelectorAll("input[aria-hidden=true]")) set(hidden, "tabindex", "-1");
  for (const file of document.querySelectorAll("input[type=file]")) set(file, "aria-label", "File of curves");
}
function set(element, attribute, value) {
  if (element.getAttribute(attribute) !== value) element.setAttribute(attribute, value);
}
let naming = false;
new MutationObserver(function () {
  if (naming) return;
  naming = true;
  requestAnimationFrame(function () { naming = false; nameControls(); });
}).observe(document.documentElement, { childList: true, subtree: true, attributeFilter: ["role", "aria-selected", "tabindex"] });
