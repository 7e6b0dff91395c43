/** Loaded before each test file: a file that has passed must not hang at its end (see letNodeEnd). */
import { letNodeEnd } from "../../src/base/clean-exit.ts";

process.on("exit", letNodeEnd);
