/** A Go version as numbers. Development versions ("devel go1.28-abcdef") have the minor that they lead to. */
export interface GoVersion {
  /** As the toolchain writes it: "go1.26.8", "go1.25rc1", "devel go1.28-…". */
  readonly text: string;
  readonly minor: number;
  readonly patch: number;
}

/** What the linker left about the build: runtime/debug.BuildInfo, as far as it was recorded. */
export interface BuildInfo {
  /** The main package's import path ("path" line), or undefined. */
  readonly path: string | undefined;
  /** The main module and its version, or undefined where built without modules. */
  readonly module: { readonly path: string; readonly version: string } | undefined;
  readonly dependencies: readonly { readonly path: string; readonly version: string }[];
  /** -ldflags, CGO_ENABLED, GOARCH, vcs.revision …: since Go 1.18. */
  readonly settings: ReadonlyMap<string, string>;
}
