"""HTTP for every function: identity, arguments, responses, errors, entity tags.

It knows tasks and their errors. It does not know which endpoints exist: each function declares its
own. `endpoint`, `binding`, `request` and `response` know no tasks either, so that a page needs no
database driver to start.
"""
