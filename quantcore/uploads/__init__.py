"""What visitors bring: one folder an upload, owned, unguessable, and gone after a time.

Each folder holds the record of what the file was found to be, and the files that are used from then
on. The name of an upload, `upload/TOKEN`, stands wherever a model or a source of pictures is named.
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
