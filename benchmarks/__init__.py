"""Each file prints one table, beside the peer it is measured against in the same run."""
