"""Imported before TensorFlow is: chooses its own kernels, not oneDNN's, unless TF_ENABLE_ONEDNN_OPTS says otherwise.

On the small tensors of a request, oneDNN's cost more than they save, and a version takes longer to warm up with them
(BUILD_NOTES.md, "Serving speed").
"""

import os

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
