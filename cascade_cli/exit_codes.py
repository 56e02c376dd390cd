"""The exit codes beside 0, done, 1, a fault of ours, and 2, a wrong request or input."""

NOT_AS_PROMISED = 3  # of `check` and `live`
INTERRUPTED = 130
READER_LEFT = 141
