from .errors import InputError as InputError, no_room as no_room, one_of as one_of
from .store import FileEntry as FileEntry, Store as Store
