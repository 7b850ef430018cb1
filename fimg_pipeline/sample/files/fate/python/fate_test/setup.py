from setuptools import setup

setup(
    name="fate-test",
    version="1.11.2",
    description="Runs the sample's test suites",
    packages=["fate_test", "fate_test.scripts"],
    package_data={"fate_test": ["*.yaml"]},
    python_requires=">=3.8",
    install_requires=["click>=7.1.2,<8.0.0", "fate_client>=1.11,<2.0"],
    entry_points={"console_scripts": ["fate_test = fate_test.scripts.cli:cli"]},
)
