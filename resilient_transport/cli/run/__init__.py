"""`run`: a program that nobody can edit, with this transport under it.

`launcher` starts Python anew, with the folder `startup` in front of PYTHONPATH, where Python looks for a
`sitecustomize`; what that does is in `resilient_transport_hook`. `same_process` is for a Python that does not
look there. `report` is what `--summary` prints.
"""
