"""Reports of runs as one self-contained HTML page.

``runs`` names the runs, the modules of the sections turn their reports into ``blocks`` (tables,
charts, texts), ``page`` makes HTML of these.
"""
