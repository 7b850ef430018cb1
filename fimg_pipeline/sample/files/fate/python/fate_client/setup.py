from setuptools import setup

setup(
    name="fate-client",
    version="1.11.2",
    description="Command lines of the sample: flow and pipeline",
    packages=["flow_client", "pipeline"],
    python_requires=">=3.8",
    install_requires=["click>=7.1.2,<8.0.0", "pyyaml>=5.4"],
    entry_points={
        "console_scripts": [
            "flow = flow_client.flow:flow_cli",
            "pipeline = pipeline.pipeline_cli:cli",
        ]
    },
)
