"""The report as a folder that opens from a file: no server, no network.

`site` writes it. `samples` and `groups` make the data that the page loads when somebody reads
them, `charts` what it draws, `overview` and `provenance` its tables. `static/` holds its scripts
and styles, and KaTeX, which is not ours (MIT, `static/katex/LICENSE`).
"""
