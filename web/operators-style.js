// The style of the operators' pages, which the pages of other roles do not load. A module that imports this one runs after it.

const link = document.createElement("link");
link.rel = "stylesheet";
link.href = "web/operators.css";
await new Promise((resolve) => {
  // A page without its style is better than none.
  link.onload = link.onerror = resolve;
  document.head.append(link);
});

export {};
