// What style sheets cannot do: print folded parts, and let the keyboard reach what scrolls sideways.

let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open], .hide)")];
  folded.forEach((part) => (part.open = true));
});
addEventListener("afterprint", () => folded.forEach((part) => (part.open = false)));

const wide = ".bd-article :is(.math, .cell_output .output, .pst-scrollable-table-container, pre)";
function reachable() {
  for (const part of document.querySelectorAll(wide)) {
    if (part.scrollWidth > part.clientWidth || part.scrollHeight > part.clientHeight + 1) part.tabIndex = 0;
    else part.removeAttribute("tabindex");
  }
}
addEventListener("resize", reachable);
addEventListener("load", reachable);
reachable();
