"""The benchmark, `make bench`: what the service costs beside a bare run of the same SDK.

It measures and tests nothing else, and no test runs it. Every part is a process of its own
(service, provider, bare loop, Postgres); this one is the load.
"""
