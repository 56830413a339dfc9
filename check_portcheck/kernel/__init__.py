"""What the kernel tells of this machine."""
