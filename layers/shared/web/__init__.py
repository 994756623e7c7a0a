"""HTTP for every function. It knows tasks and their errors, and no endpoint's path.

In the order of a request: `endpoint` (the identity and the database, around a `route`), `identity`,
`request`, `binding` with the types of `parameters`, then the function. Its result becomes a
`response` by `representations`, its error by `failures` and `problems`; `work` counts.

`route` and all that it imports know no tasks, so that a page starts without the database's driver.
"""
