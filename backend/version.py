"""The version of the service, as its documents and its package name it; semantic."""

VERSION = "1.0.0"
