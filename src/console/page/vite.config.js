import { defineConfig } from "vite";

// Relative addresses: the page may lie below any path that a route gives it.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../built/page",
    emptyOutDir: true,
    target: "es2022",
    // Inlined files would be `data:` addresses and inline scripts, which the page's policy forbids.
    assetsInlineLimit: 0,
    modulePreload: false,
  },
});
