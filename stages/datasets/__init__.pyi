from .archives import download as download
from .decode import UnreadableImageError as UnreadableImageError
from .known import spec as spec
from .layout import Found as Found, Layout as Layout, Request as Request
from .registry import (
    ListedDataset as ListedDataset,
    check_known as check_known,
    listing as listing,
    open_split as open_split,
    reopened as reopened,
    split_name as split_name,
    splits as splits,
)
from .source import (
    ArraySource as ArraySource,
    Opening as Opening,
    Source as Source,
    fingerprint as fingerprint,
)
from .specs import SPECS as SPECS, DatasetSpec as DatasetSpec
from .unreadable_images import (
    Unreadable as Unreadable,
    readable as readable,
    unreadable as unreadable,
)
