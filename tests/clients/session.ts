// A session with openapi-fetch and the types that openapi-typescript makes: session.js URL USER TOKEN

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

const [url, user, token] = process.argv.slice(2);
const api = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } });
const path = { user_id: user };

// Create, once for all requests with this key.
const once = { path, header: { "Idempotency-Key": randomUUID() } };
const body = { title: "Water the plants" };
const first = await api.POST("/api/{user_id}/tasks", { params: once, body });
const again = await api.POST("/api/{user_id}/tasks", { params: once, body });
assert(first.data && again.data);
assert.equal(again.data.id, first.data.id);
assert.equal(again.response.headers.get("Idempotency-Replayed"), "true");

// Page to the end.
for (let number = 0; number < 4; number++)
  await api.POST("/api/{user_id}/tasks", { params: { path }, body: { title: `task ${number}` } });
const tasks: components["schemas"]["Task"][] = [];
let cursor: string | undefined;
do {
  const query = { limit: 2, ...(cursor && { cursor }) };
  const page = await api.GET("/api/{user_id}/tasks", { params: { path, query } });
  tasks.push(...(page.data ?? []));
  const next = page.response.headers.get("Link")?.match(/<([^>]+)>; rel="next"/)?.[1];
  cursor = (next && new URL(next, url).searchParams.get("cursor")) || undefined;
} while (cursor);
assert.deepEqual(tasks.map((task) => task.title), [body.title, "task 0", "task 1", "task 2", "task 3"]);

// Change it, unless somebody else has.
const one = { user_id: user, task_id: first.data.id };
const header = { "If-Match": first.response.headers.get("ETag") ?? "" };
const change = () =>
  api.PUT("/api/{user_id}/tasks/{task_id}", { params: { path: one, header }, body: { completed: true } });
assert.equal((await change()).data?.completed, true);

// Many at once: all of it, or the index of the first that cannot be done.
const batch = (operations: components["schemas"]["Batch"]["operations"]) =>
  api.POST("/api/{user_id}/tasks/batch", { params: { path }, body: { operations } });
const id = first.data.id;
const done = await batch([
  { op: "create", task: { title: "in a batch" } },
  { op: "update", id, task: { title: "Water" }, if_match: "*" },
  { op: "toggle", id },
  { op: "toggle", id },
]);
assert.deepEqual(done.data?.results.map((each) => each.status), [201, 200, 200, 200]);
assert.equal(done.data.results[1]?.task?.title, "Water");
const none = await batch([{ op: "toggle", id }, { op: "delete", id: randomUUID() }]);
assert(none.error && "operation" in none.error && none.error.operation === 1);

// The status tells a validation error from any other problem, and both from the gateway's message.
const text = (error: components["schemas"]["Problem"] | components["schemas"]["ValidationProblem"]) =>
  error.status === 422 ? error.detail.map((each) => each.loc.join(".")).join() : error.detail;
const stale = await change();
assert(stale.error && "status" in stale.error && stale.error.status === 412);
assert.equal(stale.error.type, "/problems/precondition-failed");
const wrong = await api.POST("/api/{user_id}/tasks", { params: { path }, body: { title: " " } });
assert(wrong.error && "status" in wrong.error);
assert.equal(text(wrong.error), "body.title");
const foreign = await api.GET("/api/{user_id}/tasks", { params: { path: { user_id: "somebody-else" } } });
assert(foreign.error && "detail" in foreign.error && foreign.response.status === 403);
const nobody = await createClient<paths>({ baseUrl: url }).GET("/api/{user_id}/tasks", { params: { path } });
assert(nobody.error && "message" in nobody.error);
assert.equal(nobody.error.message, "Unauthorized");
const gone = await api.DELETE("/api/{user_id}/tasks/{task_id}", { params: { path: one } });
assert.equal(gone.data?.message, "Task deleted successfully");
const missing = await api.GET("/api/{user_id}/tasks/{task_id}", { params: { path: one } });
assert.equal(missing.response.status, 404);
