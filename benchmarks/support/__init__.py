"""What the benchmarks of the service share: no file here measures anything by itself."""
