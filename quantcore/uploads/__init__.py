"""What visitors upload: one folder each, owned, unguessable, and removed after a time.

Each folder holds the record of what was recognised in the file, and the files that are used from
then on. The name of an upload, `upload/TOKEN`, stands wherever a model or a source of pictures is
named.
"""

from quantcore.uploads.library import (
    CONTENT,
    Uploads,
    find,
    folder,
    is_kept,
    is_named,
    token_of,
    use,
    use_call,
)
from quantcore.uploads.records import (
    PREFIX,
    Channels,
    Form,
    Upload,
    UploadedImages,
    UploadedModel,
    placeholders,
    title,
)

__all__ = [
    "CONTENT",
    "PREFIX",
    "Channels",
    "Form",
    "Upload",
    "UploadedImages",
    "UploadedModel",
    "Uploads",
    "find",
    "folder",
    "is_kept",
    "is_named",
    "placeholders",
    "title",
    "token_of",
    "use",
    "use_call",
]
