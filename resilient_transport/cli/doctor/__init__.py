"""The doctor: what is wrong between this program and a server, in about a minute.

`sections` hold the checks. Each section measures first, and then judges what it has measured: its `measure`
is all that uses the network, its `judge` is pure. `visit` is what a section is given to measure with: the
`target`, connections made by hand (`line`, `handshake`), and calls by requests and by the adapter
(`program_calls`). `examination` runs the sections in their order, `diagnosis` says in one sentence what is
wrong, and `output` shows all of it. `docs/architecture.md` walks through that in six steps.
"""
