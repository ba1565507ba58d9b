"""What keys may use: a worker's share of each limit, and its trips to the shared ledger."""
