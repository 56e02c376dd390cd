from .archives import download as download
from .decode import UnreadableImageError as UnreadableImageError
from .identity import fingerprint as fingerprint
from .known import spec as spec
from .layout import Found as Found, Layout as Layout, Request as Request
from .left_out import readable as readable
from .registry import (
    ListedDataset as ListedDataset,
    check_known as check_known,
    listing as listing,
    open_split as open_split,
    reopened as reopened,
    split_name as split_name,
    splits as splits,
)
from .source import ArraySource as ArraySource, Opening as Opening, Source as Source
from .specs import SPECS as SPECS, DatasetSpec as DatasetSpec
from .unreadable_images import Unreadable as Unreadable, unreadable as unreadable
