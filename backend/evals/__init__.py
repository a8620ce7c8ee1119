"""How well the assistant does: cases over HTTP on the real service, judged by the rows afterwards.

`make evals` runs them against whichever provider is set; nothing here is part of the service.
"""
