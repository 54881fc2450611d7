"""The folder that `run` puts in front of PYTHONPATH: Python imports its `sitecustomize` before a program."""
