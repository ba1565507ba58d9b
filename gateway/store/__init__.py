"""The store: each file holds a noun's table, its record and its queries."""
