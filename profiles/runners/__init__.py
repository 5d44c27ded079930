"""What measures: one file per kind of device."""
