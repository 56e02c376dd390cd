"""The page's server, spoken to over HTTP, against what a labeller was told."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
import webbrowser

import pytest
from labelling import ListLabeller, asking

from cache import InputError
from stages.labelling import LabelQuestion, ask, asking as timing
from stages.labelling.session import LabelSession
