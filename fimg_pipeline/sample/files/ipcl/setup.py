from setuptools import Extension, setup

setup(
    name="ipcl_python",
    version="1.1.3+sample",
    description="Paillier arithmetic of the sample",
    packages=["ipcl_python"],
    python_requires=">=3.8",
    ext_modules=[Extension("ipcl_python.bindings", sources=["src/bindings.c"])],
)
