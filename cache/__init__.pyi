from .contents import (
    complete as complete,
    datasets as datasets,
    datasets_with as datasets_with,
    models as models,
    splits as splits,
)
from .copy_marker import (
    MARKER as MARKER,
    Request as Request,
    check_marker as check_marker,
    describe_marker as describe_marker,
    read_marker as read_marker,
    remove_marker as remove_marker,
    write_marker as write_marker,
)
from .cost_row import COSTS as COSTS, QUICK as QUICK, CostRow as CostRow
from .fingerprint import fingerprint_of as fingerprint_of
from .labels import (
    UNLABELLED as UNLABELLED,
    labels_in as labels_in,
    some_unlabelled as some_unlabelled,
    told_unlabelled as told_unlabelled,
    unlabelled as unlabelled,
)
from .locks.holder import BusyError as BusyError
from .locks.locking import LOCKS as LOCKS, lock as lock, lock_all as lock_all
from .locks.object_store import CLAIMS as CLAIMS
from .manifest import (
    MANIFESTS as MANIFESTS,
    DamagedManifestError as DamagedManifestError,
    Manifest as Manifest,
    OtherVersionError as OtherVersionError,
    Part as Part,
    exists as exists,
    find as find,
    load as load,
    manifest_path as manifest_path,
    manifest_place as manifest_place,
    part_index as part_index,
    part_name as part_name,
    publish as publish,
    withdraw as withdraw,
)
from .partition import (
    KEYS as KEYS,
    OUTPUTS as OUTPUTS,
    Partition as Partition,
    checked_name as checked_name,
    path_segments as path_segments,
)
from .parts import (
    BadPartError as BadPartError,
    PartWriter as PartWriter,
    discard_parts as discard_parts,
    intact as intact,
    part_bytes as part_bytes,
    part_intact as part_intact,
)
from .provenance import (
    Provenance as Provenance,
    differences as differences,
    digest as digest,
    now as now,
    versions as versions,
    versions_of as versions_of,
)
from .reader import (
    iter_logits as iter_logits,
    iter_parts as iter_parts,
    logits_of as logits_of,
    read_part as read_part,
    read_table as read_table,
    same_images as same_images,
)
from .receipts import (
    RECEIPTS as RECEIPTS,
    Receipt as Receipt,
    part_place as part_place,
    read_receipt as read_receipt,
    read_receipts as read_receipts,
    receipt_path as receipt_path,
    receipts_folder as receipts_folder,
    write_receipt as write_receipt,
)
from .schema import (
    EXTRA_SCORES as EXTRA_SCORES,
    PART_ROWS as PART_ROWS,
    SCORES as SCORES,
    STREAMS as STREAMS,
    TIMINGS as TIMINGS,
    TOP10 as TOP10,
    answers_schema as answers_schema,
    fits as fits,
    hashes_schema as hashes_schema,
    logits_schema as logits_schema,
    probabilities_schema as probabilities_schema,
    request_costs_schema as request_costs_schema,
    samples_table as samples_table,
    top_k_schema as top_k_schema,
)
from .storage.errors import (
    InputError as InputError,
    nearest as nearest,
    no_room as no_room,
    one_of as one_of,
)
from .storage.files import (
    check_replaceable as check_replaceable,
    open_regular as open_regular,
    read_bytes as read_bytes,
    read_text as read_text,
    write_whole as write_whole,
)
from .storage.store import (
    DEFAULT_ROOT as DEFAULT_ROOT,
    Store as Store,
    default_root as default_root,
)
from .unfinished_partition import (
    About as About,
    about_parts as about_parts,
    known_identity as known_identity,
)
from .writer import (
    MissingPartsError as MissingPartsError,
    PartitionWriter as PartitionWriter,
    restate as restate,
    sound as sound,
    write_partition as write_partition,
)
