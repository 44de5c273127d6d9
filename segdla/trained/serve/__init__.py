"""A trained network as a local web service: a page to try it in a browser, and HTTP endpoints for programs.

FastAPI and uvicorn (extra ``serve``) do the web's part: FastAPI derives checks, answers and the OpenAPI description
from types, uvicorn is its usual server. Uploads are the bytes of a file, not a form: they stream to a temporary file
under a limit, with no third package. The page is plain HTML, CSS and JavaScript in ``static/``; it loads nothing from
elsewhere.
"""
