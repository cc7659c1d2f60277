// The types of the vendored file, from the npm package of the same version (tools/web/package.json).
export * from "lit-html";
