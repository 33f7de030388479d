"""Imports the libraries that close the lock, once, in the fork server of locked children.

Finding libseccomp runs a program (`ldconfig`), so it is done before anything is locked. Importing
this fails where a library is missing; `why_unavailable` says so in a sentence.
"""

import landlock.plumbing
import pyseccomp  # noqa: F401

landlock.plumbing.get_libc()
