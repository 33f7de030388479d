"""All that pages and the command line ask of one data folder, in one object: `Service`."""

from quantcore.service.service import Service

__all__ = ["Service"]
