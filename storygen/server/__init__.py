"""The HTTP API, in the shape of OpenAI's, and the page on the same port: `python -m storygen.server`."""
