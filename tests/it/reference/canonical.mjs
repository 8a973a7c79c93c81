// A second opinion on canonical texts, from the engine whose behaviour they are defined by.
// One line in: the base64 of a text. One line out: "text " and the base64 of its canonical form,
// or "refused" where JSON.parse refuses it, or "other" where it is no object.
import { createInterface } from "node:readline";

function canonical(text) {
  let message;
  try {
    message = JSON.parse(text);
  } catch {
    return "refused";
  }
  if (message === null || typeof message !== "object" || Array.isArray(message)) return "other";
  delete message.sig;
  delete message.signature;
  const sorted = Object.create(null);
  for (const name of Object.keys(message).sort()) {
    // Defined, not assigned: a name such as __proto__ stays a member like any other.
    Object.defineProperty(sorted, name, { value: message[name], enumerable: true });
  }
  return "text " + Buffer.from(JSON.stringify(sorted), "utf8").toString("base64");
}

for await (const line of createInterface({ input: process.stdin })) {
  const text = Buffer.from(line, "base64").toString("utf8");
  process.stdout.write(canonical(text) + "\n");
}
