"""The embedded server: the gRPC and REST interface and the flags of tensorflow_model_server, in Python.

It loads a SavedModel through the session loader that TF Serving uses, so what it answers is what TF Serving answers.
It serves one model, the newest version on disk. `python -m serving.server --help` lists the flags.
"""
