/** Debian packages that the tests use; test/setup/setup.ts installs what is missing, as root. */
export const packages: readonly { command: string; package: string; why: string }[] = [
  { command: "fusermount3", package: "fuse3", why: "test/fuse mounts as a user other than root" },
  { command: "tmux", package: "tmux", why: "test/top shows its screens in a real terminal" },
  { command: "chromium", package: "chromium", why: "test/profile opens the flame graph page in a real browser" },
  { command: "pdftoppm", package: "poppler-utils", why: "test/profile reads the call graph's PDF back" },
  {
    command: "prometheus",
    package: "prometheus",
    why: "test/exporter is scraped by it, and checks rules with promtool",
  },
  {
    command: "prometheus-process-exporter",
    package: "prometheus-process-exporter",
    why: "test/exporter compares every series with it",
  },
  { command: "zsh", package: "zsh", why: "test/house lets it read its completion script" },
  { command: "fish", package: "fish", why: "test/house lets it read its completion script" },
];
