"""How fast a bundle is: measured where there is a device, estimated where there is none, and never one taken for the other."""
