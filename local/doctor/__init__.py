"""`make doctor`: what is wrong with a database, an issuer, a token, origins and the environment.

It changes nothing, and it holds no rules of its own: the code that refuses a setting in the API
judges it here, too, with the same sentence.
"""
