"""How fast `BlockedIndex` is on a GPU that TensorFlow cannot use: TensorFlow lowers its searches, JAX's PJRT runs them.

    python -m benchmarks.gpu.lower --items 1000000 --categories 10000 --out 1m      here, with TensorFlow, no GPU
    python -m benchmarks.gpu.run 1m                                                 there, with a GPU, no TensorFlow

TensorFlow 2.16 gives HLO, which JAX 0.6.2 (the last one for Python 3.10) and newer ones up to 0.12.0 turn into
StableHLO and compile; JAX up to 0.5 has other names for that. There: the folder `benchmarks`, what `lower` wrote, and
`pip install "jax[cuda12]"`. Vectors are not written: both sides make them from a seed.
"""
