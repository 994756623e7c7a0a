// Better Auth with its jwt plugin, as docs/issuers.md has it, and users in memory: server.mjs PORT
import { createServer } from "node:http";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { toNodeHandler } from "better-auth/node";
import { jwt } from "better-auth/plugins";

const baseURL = `http://localhost:${process.argv[2]}`;
const tables = { user: [], session: [], account: [], verification: [], jwks: [] };
const auth = betterAuth({
  baseURL,
  secret: "a-secret-of-the-tests-that-is-32-characters-long",
  database: memoryAdapter(tables),
  emailAndPassword: { enabled: true },
  plugins: [jwt()],
  telemetry: { enabled: false },
});
const server = createServer(toNodeHandler(auth));
server.listen(Number(process.argv[2]), "localhost", () => console.log("ready"));
