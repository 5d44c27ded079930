"""What apps are made of: scaffolds, banks of labels, search indexes and whether they still fit."""
