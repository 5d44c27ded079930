"""Weight compression of ML Programs: a plan says how each weight is stored, and is carried out in few passes."""
