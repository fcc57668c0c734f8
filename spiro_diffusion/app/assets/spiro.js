// What the page does without asking the server.
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
    next: function (clicks, seed) {
      return ((Number.isInteger(seed) ? seed : 0) + 1) % 1000000;
    },
  },
});

// Enter in the number beside a slider counts, as leaving it does.
document.addEventListener("keydown", function (event) {
  if (event.key === "Enter" && event.target.matches(".dash-range-slider-input")) event.target.blur();
});
