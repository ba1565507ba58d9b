"""The management routes, one file per noun. The hot routes are in `gateway.relay`."""
