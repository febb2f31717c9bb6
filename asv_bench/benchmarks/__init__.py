"""What asv measures, a file for each theme; ``libraries``, ``cases``, ``timing`` and ``limit`` are what they share."""
