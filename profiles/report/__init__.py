"""What is known of bundles, on one page: sizes, errors, times, operations. Estimates say so wherever they stand."""
