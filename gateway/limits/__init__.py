"""What keys may use: a worker's share of each limit, and its trips to the shared ledger."""

from gateway import compiled

compiled.use(__path__, __name__)
