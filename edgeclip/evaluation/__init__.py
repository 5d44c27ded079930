"""Zero-shot evaluation of a bundle: what of the original's accuracy its artifacts keep, on labelled pictures and on pairs."""
