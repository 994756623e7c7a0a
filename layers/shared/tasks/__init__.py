"""Tasks: what one looks like, what rules it obeys and how it is stored. Knows no HTTP.

Nothing is exported here, so that a function can open its connection (`tasks.database`) before it
has imported the models, whose library takes the larger part of a cold start. Importing a module
does nothing but define; the database is opened when something first asks for it.
"""
