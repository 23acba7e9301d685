"""The embedded server: the gRPC and REST interface and the flags of tensorflow_model_server, in Python.

It loads a SavedModel through the session loader that TF Serving uses, so what it answers is what TF Serving answers.
It serves the newest version of one model, or what a ModelServerConfig says. `python -m serving.server --help` lists the
flags.
"""
